// Independent implementations read our node record and find our node.
// Usage: node --import ./as-waku.mjs check.mjs <file: wakumix enr show --json> [<the same of another node that it knows>]
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Discv5 } from "@chainsafe/discv5";
import { ENR, SignableENR } from "@chainsafe/enr";
import { generateKeyPair } from "@libp2p/crypto/keys";
import { multiaddr } from "@multiformats/multiaddr";
import { EnrDecoder } from "@waku/enr";

const LIMIT_MS = 20_000;
const BITS = ["relay", "store", "filter", "lightpush", "sync", "mix"];

const ours = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, "utf8")));
for (const record of ours) {
  await readsByWaku(record);
  readsByChainsafe(record);
}
await findsByDiscv5(ours);
console.log("ok: js-waku and ChainSafe read the records; a discv5 client with Waku's id finds the nodes");
process.exit(0);

// js-waku's library: the same fields and flags.
async function readsByWaku(record) {
  const enr = await EnrDecoder.fromString(record.enr);
  assert.equal(enr.peerId.toString(), record.peerId);
  assert.equal(Number(enr.seq), record.seq);
  assert.deepEqual([enr.ip, enr.tcp, enr.udp], [record.ip, record.tcp, record.udp]);
  assert.equal(enr.shardInfo?.clusterId, record.cluster);
  assert.deepEqual(enr.shardInfo?.shards, record.shards);
  const flags = enr.waku2;
  // The library knows the first four flags (spec/waku.md §8.1); the others are read from the byte below.
  for (const name of BITS.slice(0, 4)) {
    const key = name === "lightpush" ? "lightPush" : name;
    assert.equal(flags[key], record.capabilities.includes(name), name);
  }
  assert.deepEqual((enr.multiaddrs ?? []).map(String), record.multiaddrs);
}

// An implementation of EIP-778 that knows nothing of Waku: the raw fields.
function readsByChainsafe(record) {
  const enr = ENR.decodeTxt(record.enr);
  assert.equal(Number(enr.seq), record.seq);
  assert.deepEqual([enr.ip, enr.tcp, enr.udp], [record.ip, record.tcp, record.udp]);
  const bits = enr.kvs.get("waku2");
  assert.equal(bits.length, 1);
  BITS.forEach((name, bit) => assert.equal(((bits[0] >> bit) & 1) === 1, record.capabilities.includes(name), name));
  const key = enr.kvs.get("mix-key");
  assert.equal(key && Buffer.from(key).toString("hex"), record.mixKey);
  assert.equal(record.bytes <= 300, true);
}

// A discv5 client: the first record is its bootstrap; it has to find every one.
async function findsByDiscv5(records) {
  const privateKey = await generateKeyPair("secp256k1");
  const enr = SignableENR.createFromPrivateKey(privateKey);
  const bindAddrs = { ip4: multiaddr("/ip4/127.0.0.1/udp/0") };
  const client = Discv5.create({ enr, privateKey, bindAddrs });
  await client.start();
  const bootstrap = ENR.decodeTxt(records[0].enr);
  client.addEnr(bootstrap);

  const pong = await client.sendPing(bootstrap);
  assert.equal(Number(pong.enrSeq) >= records[0].seq, true, "the answer to a ping has our sequence number");

  const wanted = new Map(records.map((record) => [ENR.decodeTxt(record.enr).nodeId, record]));
  const deadline = Date.now() + LIMIT_MS;
  const found = new Map();
  while (found.size < wanted.size && Date.now() < deadline) {
    for (const id of wanted.keys()) {
      for (const node of await client.findNode(id)) {
        if (wanted.has(node.nodeId)) found.set(node.nodeId, node);
      }
    }
  }
  assert.deepEqual([...found.keys()].sort(), [...wanted.keys()].sort(), "every node is found");
  for (const [id, node] of found) {
    assert.equal(node.tcp, wanted.get(id).tcp);
    assert.equal(Buffer.from(node.kvs.get("waku2")).length, 1);
  }
  await client.stop();
}
