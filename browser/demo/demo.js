// A page that sends a text through a mixnet. `net.json` beside it says which net: `wakumix testnet --hold --websocket`.

import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { generateKeyPair } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import { ping } from "@libp2p/ping";
import { webSockets } from "@libp2p/websockets";
import { createMixClient, indexedDbStore } from "@wakumix/browser";
import { createLibp2p } from "libp2p";

const MAX_BYTES = 4096;
const at = (id) => document.getElementById(id);
const encoder = new TextEncoder();

function show(status) {
  const { isReady, lack, pool, guards, open } = status;
  at("state").textContent = isReady ? "ready to send" : lack.words;
  at("state").className = isReady ? "state ready" : "state";
  at("pool").textContent = `${pool.usable}`;
  at("guards").textContent = `${guards.connected}`;
  at("open").textContent = `${open}`;
}

function measure() {
  const size = encoder.encode(at("text").value).length;
  at("size").textContent = `${size} of ${MAX_BYTES} bytes`;
  return size;
}

async function start() {
  const { cluster, pubsubTopic, contentTopic, bootstrap } = await (await fetch("net.json")).json();
  const libp2p = await createLibp2p({
    // A key of its own for each visit: nodes cannot tell that two visits are one user's.
    privateKey: await generateKeyPair("secp256k1"),
    transports: [webSockets()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify(), ping: ping() },
    // A test net on this machine has plain WebSockets on private addresses.
    connectionGater: { denyDialMultiaddr: () => false },
  });
  const mix = await createMixClient({
    libp2p, cluster, bootstrap, store: indexedDbStore(`demo ${bootstrap[0]}`), allowPrivateAddresses: true,
  });

  const update = () => {
    const status = mix.status();
    show(status);
    const size = measure();
    at("send").disabled = !status.isReady || size === 0 || size > MAX_BYTES;
  };
  mix.on("pool", update);
  mix.on("outcome", update);
  at("text").addEventListener("input", update);
  update();

  at("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = at("text").value;
    if (at("send").disabled) return;
    at("text").value = "";
    const entry = at("entry").content.firstElementChild.cloneNode(true);
    entry.classList.add("under-way");
    entry.querySelector(".text").textContent = text;
    entry.querySelector(".result").textContent = "on its way";
    at("sent").prepend(entry);
    const sent = mix.push({ payload: encoder.encode(text), contentTopic, pubsubTopic });
    update();
    const outcome = await sent;
    entry.classList.replace("under-way", outcome.isConfirmed ? "done" : "failed");
    const { tries, packets, roundTripMs, relayPeerCount, message, messageHash } = outcome;
    const count = (number, one, more) => `${number} ${number === 1 ? one : more}`;
    entry.querySelector(".result").textContent = outcome.isConfirmed
      ? `published to ${count(relayPeerCount, "relay", "relays")} after ${Math.round(roundTripMs)} ms, ${count(tries, "try", "tries")}, ${count(packets, "packet", "packets")}`
      : `${outcome.outcome}: ${message}`;
    entry.querySelector(".hash").textContent = messageHash ?? "";
  });
}

start().catch((error) => {
  at("state").textContent = error.message;
  at("state").className = "state failed";
});
