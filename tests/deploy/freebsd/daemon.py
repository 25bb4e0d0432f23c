#!/usr/bin/env python3
"""Stands in for FreeBSD's daemon(8), as far as an rc.d script leans on it.

https://man.freebsd.org/cgi/man.cgi?query=daemon&sektion=8

  -P file   writes its own pid there; on SIGTERM it ends the program, and then itself
  -p file   writes the program's pid there
  -r        starts the program again a second after it ended; -R seconds: after that many
  -u user   runs the program as that user, which only root may ask for
  -o file   appends the program's output to the file; with -H opens it anew on SIGHUP
  -c, -f, -t title: taken, without effect here
"""

import getopt
import os
import pwd
import signal
import subprocess
import sys
import threading


def main():
    options, program = getopt.getopt(sys.argv[1:], "cfHP:p:rR:u:o:t:")
    options = dict(options)
    user = options.get("-u")
    if user and os.getuid() != 0:
        sys.exit("daemon: failed to set user environment")
    again = 1 if "-r" in options else int(options["-R"]) if "-R" in options else None
    pid_file, program_pid_file = options.get("-P"), options.get("-p")
    try:
        # Before it goes to the background, so that a wrong path is reported.
        files = [open(name, "w") for name in (pid_file, program_pid_file) if name]
        output = Output(options.get("-o", "/dev/null"), "-H" in options)
    except OSError as error:
        sys.exit(f"daemon: {error}")
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)

    over = threading.Event()
    running = []

    def stop(*_):
        over.set()
        for process in running:
            process.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, output.reopen)
    write(pid_file, os.getpid())
    while not over.is_set():
        process = subprocess.Popen(
            program,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **identity(user),
        )
        running[:] = [process]
        write(program_pid_file, process.pid)
        for line in process.stdout:
            output.write(line)
        process.wait()
        running.clear()
        if again is None:
            break
        over.wait(again)
    for file in files:
        os.remove(file.name)


def identity(user):
    """Who the program runs as: setusercontext(3)."""
    if not user:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def write(name, pid):
    if name:
        with open(name, "w") as file:
            file.write(str(pid))  # without a newline, as the real one


class Output:
    """A log, opened as the one who runs this."""

    def __init__(self, name, reopens):
        self.name, self.reopens = name, reopens
        self.file = open(name, "ab", buffering=0)

    def write(self, line):
        self.file.write(line)

    def reopen(self, *_):
        if self.reopens:
            self.file.close()
            self.file = open(self.name, "ab", buffering=0)


main()
