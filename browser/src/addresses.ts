// Multiaddresses of the app, checked before they are used.

import { multiaddr, type Multiaddr } from "@multiformats/multiaddr";

import { MixError } from "./errors.js";

/** The protocol code of `/p2p`, as a varint. */
const P2P = [0xa5, 0x03];
/** How a peer id begins that a packet can name: 37 bytes that are hashed by themselves, a secp256k1 key. */
const SECP256K1 = [0x00, 0x25, 0x08, 0x02, 0x12, 0x21];
const PEER_ID_LENGTH = 39;

/** An address without its peer id, and the peer. */
export interface Located {
  peer: Uint8Array;
  address: Uint8Array;
}

export function isSecp256k1(peer: Uint8Array): boolean {
  return peer.length === PEER_ID_LENGTH && SECP256K1.every((byte, at) => peer[at] === byte);
}

/** Reads an address that ends with `/p2p/<peer id>`; `option` is where it stands. */
export function located(option: string, text: string): Located {
  const bytes = parsed(option, text).bytes;
  const at = bytes.length - PEER_ID_LENGTH;
  const peer = bytes.slice(at);
  const isNamed = at >= 3 && bytes[at - 3] === P2P[0] && bytes[at - 2] === P2P[1] && bytes[at - 1] === PEER_ID_LENGTH;
  if (!isNamed || !isSecp256k1(peer)) {
    throw new MixError("address", `${option}: ${text} does not end with /p2p/<peer id of a secp256k1 key>; take the address that the node prints at its start`);
  }
  return { peer, address: bytes.slice(0, at - 3) };
}

/** The same for an address that the page is to dial: a WebSocket, and a secure one where the page came over https. */
export function dialable(option: string, text: string, secureOnly: boolean): Located {
  const isSecure = /\/wss(\/|$)|\/tls(\/sni\/[^/]+)?\/ws(\/|$)/.test(text);
  const isPlain = !isSecure && /\/ws(\/|$)/.test(text);
  if (!isSecure && !isPlain) {
    throw new MixError("address", `${option}: ${text} is not the address of a WebSocket, and a page can dial no other; give one with /wss or /ws`);
  }
  if (isPlain && secureOnly && !isLoopback(text)) {
    throw new MixError("address", `${option}: ${text} is a plain WebSocket, and a page that came over https may not dial it; give the node's /wss address`);
  }
  return located(option, text);
}

function isLoopback(text: string): boolean {
  return /^\/(ip4\/127\.|ip6\/::1\/|dns[46]?\/localhost\/)/.test(text);
}

function parsed(option: string, text: string): Multiaddr {
  try {
    return multiaddr(text);
  } catch (error) {
    throw new MixError("address", `${option}: ${text} is not a multiaddress: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** What js-libp2p dials. */
export function full({ peer, address }: Located): Multiaddr {
  const bytes = new Uint8Array(address.length + 3 + peer.length);
  bytes.set(address);
  bytes.set([...P2P, peer.length], address.length);
  bytes.set(peer, address.length + 3);
  return multiaddr(bytes);
}
