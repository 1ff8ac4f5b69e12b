// The shows, one after the other; each prints what it has found. Arguments: program, folder for logs and keys, the built demo.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer as createTlsServer } from "node:tls";
import { connect, createServer } from "node:net";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { launch, open, serveFolder } from "./browser.mjs";
import { bundle, PAGES } from "./build.mjs";
import { CLUSTER, Net, until } from "./net.mjs";

const [program, folder, demo] = process.argv.slice(2);
const www = join(folder, "www");
await bundle(www, PAGES);

const net = await new Net(program, folder).start({ mixers: 6, exits: 3 });
const browser = await launch({ args: ["--ignore-certificate-errors"] });
const site = await serveFolder(www);
const bootstrap = [net.nodes.get("mixer-1").ws];
const options = { cluster: CLUSTER, bootstrap, allowPrivateAddresses: true };
let failed = false;

/** Runs one show, and goes on with the next whatever it says. */
async function show(name, run) {
  const began = Date.now();
  try {
    const found = await run();
    console.log(`ok    ${name}${found ? `: ${found}` : ""} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed = true;
    console.log(`FAILED ${name}: ${error.stack}`);
  }
}

/** A page in a context of its own, so with a storage of its own; its errors end the show. */
async function withPage(kind, use, { context: given, ...more } = {}) {
  const context = given ?? (await browser.newContext({ ignoreHTTPSErrors: true }));
  const page = await open(context, `${site.url}/${kind}.html`);
  try {
    const started = await page.evaluate((given) => window.app.start(given), { ...options, ...more });
    assert.deepEqual(started, { ok: true });
    await page.evaluate(() => window.app.ready());
    const found = await use(page);
    assert.deepEqual(page.errors, []);
    return found;
  } finally {
    await page.close();
    if (!given) await context.close();
  }
}

const send = (page, ...args) => page.evaluate((args) => window.app.send(...args), args);
const sendAll = (page, names, size) => page.evaluate(([names, size]) => window.app.sendAll(names, size), [names, size]);
const names = (what, count) => Array.from({ length: count }, (_, at) => `${what} ${at} ${Math.random()}|`);
const begins = (payloads, name) => payloads.some((payload) => payload.startsWith(name));

/** Waits until the relay has every message; nothing else counts as published. */
async function seen(wanted) {
  const arrived = [];
  await until(`${wanted.length} messages at the relay`, async () => {
    arrived.push(...(await net.arrived()));
    return wanted.every((name) => begins(arrived, name));
  });
}

for (const { name: kind } of PAGES) {
  await show(`${kind}: 200 pushes, 4 bursts of 50, from one bootstrap address`, () =>
    withPage(kind, async (page) => {
      const memory = [];
      let confirmed = 0;
      for (let burst = 0; burst < 4; burst += 1) {
        const wanted = names(`${kind} burst ${burst}`, 50);
        const outcomes = await sendAll(page, wanted);
        confirmed += outcomes.filter(({ isConfirmed }) => isConfirmed).length;
        await seen(wanted);
        memory.push(await page.evaluate(() => window.app.memory()));
      }
      assert.equal(confirmed, 200);
      return `${confirmed} of 200 confirmed and seen at the relay, module memory ${memory.join(", ")} bytes`;
    }));

  await show(`${kind}: 1, 1000, 3000 and 4096 bytes arrive, 4097 are refused`, () =>
    withPage(kind, async (page) => {
      const packets = [];
      for (const size of [1, 1000, 3000, 4096]) {
        const outcome = await send(page, size === 1 ? "~" : names(`${kind} of ${size}`, 1)[0], size);
        assert.equal(outcome.outcome, "confirmed", JSON.stringify(outcome));
        assert.match(outcome.messageHash, /^0x[0-9a-f]{64}$/);
        packets.push(outcome.packets);
      }
      const refused = await send(page, "too large", 4097);
      assert.equal(refused.outcome, "too_large");
      assert.match(refused.message, /4097.*4096/);
      return `in ${packets.join(", ")} packets`;
    }));
}

await show("a page that is opened again sends from its stored pool and asks nobody", async () => {
  const context = await browser.newContext();
  const guards = await withPage("libp2p", async (page) => {
    assert.equal((await send(page, names("first visit", 1)[0])).outcome, "confirmed");
    await until("the engine to hang up on those that are not guards", async () => (await page.evaluate(() => window.app.peers())).length === 3);
    // What is kept is written at the latest two seconds after it has changed.
    await until("the state to be stored", () => page.evaluate(async () => (await indexedDB.databases()).some(({ name }) => name === "test")));
    await page.evaluate(() => window.app.stop());
    return page.evaluate(() => window.app.peers());
  }, { context, keeps: true });
  assert.deepEqual(guards, []);
  await withPage("libp2p", async (page) => {
    const wanted = names("second visit", 1);
    assert.equal((await send(page, wanted[0])).outcome, "confirmed");
    await seen(wanted);
  }, { context, keeps: true, bootstrap: [] });
  await context.close();
});

await show("a page connects to guards, bootstrap and checked nodes only, and a trap is left alone", async () => {
  let visits = 0;
  const trap = createServer((socket) => {
    visits += 1;
    socket.destroy();
  });
  await new Promise((resolve) => trap.listen(0, "127.0.0.1", resolve));
  const context = await browser.newContext();
  const dialled = [];
  context.on("page", (page) => page.on("websocket", (socket) => dialled.push(new URL(socket.url()).port)));
  await withPage("libp2p", async (page) => {
    await sendAll(page, names("guarded", 10));
    await until("three guards alone", async () => (await page.evaluate(() => window.app.peers())).length === 3);
  }, { context });
  await context.close();
  trap.close();
  const known = [...net.nodes.values()].map(({ ws }) => ws.split("/")[4]);
  assert.ok(dialled.length > 0 && dialled.every((port) => known.includes(port)), `${dialled}`);
  assert.equal(visits, 0);
  return `${dialled.length} connections, all to mix nodes`;
});

await show("offline for ten seconds: typed outcomes, and then answers", () =>
  withPage("libp2p", async (page) => {
    await page.context().setOffline(true);
    const sent = page.evaluate(() => window.app.send("sent while offline|"));
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    await page.context().setOffline(false);
    const { outcome } = await sent;
    assert.match(outcome, /^(confirmed|deadline|no_guard|first_hop_failed|no_replies)$/);
    await page.evaluate(() => window.app.ready());
    assert.equal((await send(page, names("online again", 1)[0])).outcome, "confirmed");
    return `the request of meanwhile ended as ${outcome}`;
  }));

await show("an aborted push rejects with the reason, and a stopped client says so", () =>
  withPage("libp2p", async (page) => {
    assert.equal(await page.evaluate(() => window.app.sendAborted("never mind")), "the user has left");
    await page.evaluate(() => window.app.stop());
    assert.equal((await send(page, "too late")).outcome, "stopped");
  }));

await show("options that cannot be used are refused in words that say what to do", async () => {
  const context = await browser.newContext();
  const peer = net.nodes.get("mixer-1").peer;
  for (const [given, code, parts] of [
    [{ keyType: "Ed25519" }, "identity", [/Ed25519/, /generateKeyPair\("secp256k1"\)/]],
    [{ bootstrap: [`/ip4/127.0.0.1/tcp/1/p2p/${peer}`] }, "address", [/bootstrap\[0\]/, /not the address of a WebSocket/, /\/wss/]],
    [{ bootstrap: ["/ip4/127.0.0.1/tcp/1/ws"] }, "address", [/does not end with \/p2p/]],
    [{ bootstrap: ["nonsense"] }, "address", [/nonsense/]],
    [{ mixNodes: [{ addresses: [bootstrap[0]], mixKey: "12" }] }, "mix_node", [/mixNodes\[0\]\.mixKey/, /64 hexadecimal/]],
    [{ profile: "rot13" }, "option", [/rot13/]],
    [{ cluster: 70_000 }, "option", [/cluster: 70000/]],
    [{ timeoutMs: 0 }, "option", [/timeoutMs/]],
    [{ wasm: `${site.url}/nowhere.wasm` }, "wasm", [/status 404/]],
  ]) {
    const page = await open(context, `${site.url}/libp2p.html`);
    const refused = await page.evaluate((given) => window.app.start(given), { ...options, ...given });
    assert.equal(refused.code, code, JSON.stringify([given, refused]));
    for (const part of parts) assert.match(refused.message, part);
    await page.close();
  }
  await context.close();
});

await show("a page whose policy forbids WebAssembly is told which word to add", async () => {
  const strict = await serveFolder(www, { csp: "default-src 'self'; connect-src *" });
  const page = await open(await browser.newContext(), `${strict.url}/libp2p.html`);
  const refused = await page.evaluate((given) => window.app.start(given), options);
  assert.equal(refused.code, "wasm");
  assert.match(refused.message, /'wasm-unsafe-eval'/);
  await page.close();
  await strict.close();
});

await show("an unreachable bootstrap, and one of another cluster, show as what is missing", async () => {
  const context = await browser.newContext();
  for (const [given, part] of [
    [{ bootstrap: [bootstrap[0].replace(/tcp\/\d+/, "tcp/1")] }, /no other node is known|needed/],
    [{ cluster: 7 }, /cluster 66.*set to cluster 7/],
  ]) {
    const page = await open(context, `${site.url}/libp2p.html`);
    assert.deepEqual(await page.evaluate((given) => window.app.start(given), { ...options, ...given }), { ok: true });
    await until(`${part}`, async () => part.test((await page.evaluate(() => window.app.status())).lack?.words ?? ""));
    const { outcome } = await page.evaluate(() => window.app.send("nowhere to go", 20, undefined, { timeoutMs: 2000 }));
    assert.equal(outcome, "pool_too_small");
    await page.close();
  }
  await context.close();
});

await show("a page that came over https sends over wss, and may dial nothing plain", async () => {
  const tls = { key: readFileSync(join(folder, "key.pem")), cert: readFileSync(join(folder, "cert.pem")) };
  const secure = await serveFolder(www, { tls });
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await open(context, `${secure.url}/libp2p.html`);
  const plain = bootstrap[0].replace("127.0.0.1", "192.0.2.1");
  const refused = await page.evaluate((given) => window.app.start(given), { ...options, bootstrap: [plain] });
  assert.equal(refused.code, "address");
  assert.match(refused.message, /over https.*\/wss/);
  // A proxy with TLS in front of the node's plain listener, as an operator has it.
  const port = Number(bootstrap[0].split("/")[4]);
  const proxy = createTlsServer(tls, (socket) => {
    const inner = connect(port, "127.0.0.1");
    const end = () => void (socket.destroy(), inner.destroy());
    socket.on("error", end).on("close", end).pipe(inner).on("error", end).on("close", end).pipe(socket);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const wss = bootstrap[0].replace(/tcp\/\d+\/ws/, `tcp/${proxy.address().port}/wss`);
  assert.deepEqual(await page.evaluate((given) => window.app.start(given), { ...options, bootstrap: [wss] }), { ok: true });
  await page.evaluate(() => window.app.ready());
  const wanted = names("over https", 5);
  assert.ok((await sendAll(page, wanted)).every(({ isConfirmed }) => isConfirmed));
  await seen(wanted);
  await page.close();
  await context.close();
  await secure.close();
  proxy.close();
});

await show("a killed mixer, exit and guard: each request has one outcome, and at least 99 of 100 an answer", async () => {
  const found = await withPage("libp2p", async (page) => {
    const outcomes = [];
    const guard = async () => {
      const peers = await page.evaluate(() => window.app.peers());
      return net.byPeer(peers.find((peer) => net.byPeer(peer)?.name.startsWith("mixer"))).name;
    };
    const guarding = await guard();
    const mixer = [...net.nodes.keys()].find((name) => name.startsWith("mixer") && name !== "mixer-1" && name !== guarding);
    for (const victim of [() => mixer, () => "exit-3", guard]) {
      const sent = sendAll(page, names("beside a death", 34));
      await net.kill(await victim());
      outcomes.push(...(await sent));
    }
    const answered = outcomes.filter(({ isConfirmed }) => isConfirmed).length;
    assert.equal(outcomes.length, 102);
    const others = outcomes.filter(({ isConfirmed }) => !isConfirmed).map(({ outcome }) => outcome);
    assert.ok(answered >= 101, `${answered} of 102; the others: ${others}`);
    return `${answered} of 102 answered`;
  }, { timeoutMs: 30_000 });
  return found;
});

await net.stop();

await show("wakumix testnet --hold --websocket serves the demo, and it sends", async () => {
  const testnet = spawn(program, ["testnet", "--messages", "0", "--hold", "--websocket", "--page", demo], { stdio: ["ignore", "ignore", "pipe"] });
  try {
    let said = "";
    testnet.stderr.on("data", (data) => (said += data));
    const url = await until("the address of the page", () => /send from a web page:\s+(http\S+)/.exec(said)?.[1], 120_000);
    for (const [name, viewport] of [["desktop", { width: 1280, height: 900 }], ["phone", { width: 390, height: 844 }]]) {
      const context = await browser.newContext({ viewport });
      const page = await context.newPage();
      const errors = [];
      page.on("pageerror", (error) => errors.push(error.message));
      await page.goto(url);
      await page.fill("#text", "Hello from a page");
      await page.waitForSelector("#send:enabled", { timeout: 60_000 });
      await page.click("#send");
      await page.waitForSelector(".done", { timeout: 60_000 });
      assert.match(await page.textContent(".done .result"), /published to \d+ relay/);
      assert.deepEqual(errors, []);
      const shots = process.env.SCREENSHOTS;
      if (shots) {
        mkdirSync(shots, { recursive: true });
        await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
      }
      await context.close();
    }
  } finally {
    testnet.kill("SIGINT");
    await new Promise((resolve) => testnet.once("exit", resolve));
  }
});

await site.close();
await browser.close();
process.exit(failed ? 1 : 0);
