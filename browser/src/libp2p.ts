// What this package needs of js-libp2p, in the forms of versions 2 and 3. The app brings it.

import type { Multiaddr } from "@multiformats/multiaddr";

export interface PeerId {
  readonly type: string;
  toMultihash(): { readonly bytes: Uint8Array };
  toString(): string;
}

/** Bytes, or a list of them as js-libp2p passes them on. */
export type Chunk = Uint8Array | { subarray(): Uint8Array };

/** A stream of js-libp2p 2: an iterable to read from, and a function that reads what is to be written. */
export interface DuplexStream {
  source: AsyncIterable<Chunk>;
  sink(source: AsyncIterable<Uint8Array>): Promise<void>;
  close(): Promise<void>;
  abort(error: Error): void;
}

/** A stream of js-libp2p 3. */
export interface MessageStream extends AsyncIterable<Chunk> {
  send(data: Uint8Array): boolean;
  onDrain(options?: { signal?: AbortSignal }): Promise<void>;
  close(): Promise<void>;
  abort(error: Error): void;
}

export type AnyStream = DuplexStream | MessageStream;

export interface Connection {
  readonly remotePeer: PeerId;
  readonly status: string;
  newStream(protocols: string | string[], options?: { signal?: AbortSignal }): Promise<AnyStream>;
  close(): Promise<void>;
}

/** A js-libp2p node, of version 2 or 3: what both have in common as types. */
export interface Libp2p {
  readonly peerId: { readonly type: string; toString(): string };
  getConnections(): unknown[];
  getMultiaddrs(): unknown[];
}

/** The calls that are made of it: the types of the two versions differ in ways that do not matter here. */
export interface Node {
  readonly peerId: PeerId;
  getConnections(): Connection[];
  dial(peer: Multiaddr[], options?: { signal?: AbortSignal }): Promise<Connection>;
  handle(protocol: string, handler: (first: unknown, second?: unknown) => void, options?: object): Promise<void>;
  unhandle(protocol: string): Promise<void>;
  addEventListener(type: string, listener: (event: { detail: PeerId }) => void): void;
  removeEventListener(type: string, listener: (event: { detail: PeerId }) => void): void;
}
