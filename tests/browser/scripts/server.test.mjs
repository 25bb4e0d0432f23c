// The requests of the pages to a server that may be hostile, over loopback.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import test from "node:test";
import { load } from "./modules.mjs";

const { Server, ServerError } = await load("proof/server.js");

/** Runs a test with a server that answers each request in this way. */
async function withServer(answer, run) {
  const server = createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await run(new Server(`http://127.0.0.1:${server.address().port}/`));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Runs a test in which all time limits are a hundredth. Returns those that were asked for. */
async function inAHurry(run) {
  const { timeout } = AbortSignal;
  const limits = [];
  AbortSignal.timeout = (ms) => {
    limits.push(ms);
    return timeout.call(AbortSignal, ms / 100);
  };
  try {
    await run();
  } finally {
    AbortSignal.timeout = timeout;
  }
  return limits;
}

const body = (status, bytes) => (_, response) => response.writeHead(status).end(bytes);

test("a proof is read as it was sent, up to 64 KiB", async () => {
  for (const length of [0, 1, 64 * 1024]) {
    const bytes = Buffer.alloc(length, 7);
    const read = await withServer(body(200, bytes), (server) => server.proof(41));
    assert.ok(bytes.equals(read), `${length} bytes`);
  }
  const read = (bytes) => withServer(body(200, bytes), (server) => server.proof(41));
  await assert.rejects(read(Buffer.alloc(64 * 1024 + 1)), /too long/);
  assert.equal(await withServer(body(410, ""), (server) => server.proof(41)), null);
});

test("the address of any page leads to its server, and a text without a scheme to none", async () => {
  const answer = ({ url }, response) =>
    response.writeHead(url === "/rolls/41/proof" ? 200 : 404).end();
  const read = await withServer(answer, ({ address }) => {
    assert.match(address, /^http:\/\/127\.0\.0\.1:\d+$/);
    return new Server(` ${address}/rolls/41?x#y`).proof(41);
  });
  assert.equal(read.length, 0);
  assert.equal(new Server("https://Dice.example.org:443").address, "https://dice.example.org");
  const message = /^Enter an address such as https:/;
  for (const text of ["", "dice.example.org", "host:5977", "127.0.0.1:5977", "file:///x"]) {
    assert.throws(() => new Server(text), { message }, text);
  }
});

test("an endless answer is cut off", async () => {
  let isClosed;
  const closed = new Promise((resolve) => (isClosed = resolve));
  const endless = (_, response) => {
    response.on("close", isClosed);
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(16 * 1024)));
    };
    response.on("drain", more);
    more();
  };
  await withServer(endless, async (server) => {
    await assert.rejects(server.log(), ServerError);
    await closed;
  });
});

test("a server that does not answer, or not to the end, is given up after 10 seconds", async () => {
  const stalled = (_, response) => response.writeHead(200).write("c2sp.org");
  for (const answer of [() => {}, stalled]) {
    const limits = await inAHurry(() =>
      withServer(answer, async (server) => {
        const late = { name: "Error", message: /did not answer within 10 seconds/ };
        await assert.rejects(server.proof(41), late);
        await assert.rejects(server.log(), ServerError);
      }),
    );
    assert.deepEqual(limits, [10_000, 10_000]);
  }
});

test("only a key and the first roll of a tile are what a server says about its log", async () => {
  const read = (json) =>
    withServer(body(200, JSON.stringify(json)), (server) => server.log().catch((error) => error));
  for (const oldest of [1, 257]) {
    assert.deepEqual(await read({ key: "k", oldest }), { key: "k", oldest });
  }
  for (const oldest of [0, -255, 2, 1.5, "1", null, 1e300, undefined]) {
    assert.ok((await read({ key: "k", oldest })) instanceof ServerError, `${oldest}`);
  }
  for (const json of [null, [], "x", { key: 1, oldest: 1 }, { oldest: 1 }]) {
    assert.ok((await read(json)) instanceof ServerError, JSON.stringify(json));
  }
  const broken = withServer(body(200, "{"), (server) => server.log());
  await assert.rejects(broken, /does not name a log/);
});
