"""`app.py PORT EVERY_US`: Flask on gevent, in one process, as in the article that rollcast comes from;
with one roll for everyone instead of one per client. Each event carries its number and its microsecond."""

import sys
import time

import gevent
from flask import Flask, Response
from gevent.event import Event
from gevent.pywsgi import WSGIServer

app = Flask(__name__)
port, every = int(sys.argv[1]), int(sys.argv[2]) / 1e6
rolls = []  # of all time, as sent
rolled = Event()


def roll():
    global rolled
    while True:
        n = len(rolls) + 1
        now = time.time_ns() // 1000
        rolls.append(f'id: {n}-{now}\ndata: {{"1D6":{n % 6 + 1},"1D20":{n % 20 + 1}}}\n\n')
        before, rolled = rolled, Event()
        before.set()
        gevent.sleep(every)


@app.route("/stream/", methods=["GET", "POST"])
def stream():
    def events():
        n = len(rolls)
        yield ": here\n\n"
        while True:
            while n < len(rolls):
                n += 1
                yield rolls[n - 1]
            rolled.wait()

    return Response(events(), mimetype="text/event-stream")


gevent.spawn(roll)
WSGIServer(("127.0.0.1", port), app, backlog=1024, log=None).serve_forever()
