// Packets on their way out: one stream for each first hop, since a node takes few streams of one protocol from one peer.

import { LEFT } from "./codec.js";
import type { Connection } from "./libp2p.js";
import { frame, frameWriter, type FrameWriter } from "./streams.js";

export const MIX_PROTOCOL = "/mix/1.0.0";
/** Opening a stream takes a round trip; after this long the hop counts as broken. */
const OPEN_LIMIT_MS = 10_000;
/** Packets that wait for one hop. Overflow rule: the newest is refused. */
const MAX_WAITING = 64;

export class Hops {
  private readonly hops = new Map<string, { connection: Connection; writer: Promise<FrameWriter>; waiting: number }>();

  /** Writes a packet over a connection; what became of it. A stream that has gone idle is opened again, once. */
  async send(connection: Connection, packet: Uint8Array): Promise<number> {
    const framed = frame(packet);
    for (const isLast of [false, true]) {
      const hop = this.hop(connection);
      if (hop.waiting >= MAX_WAITING) return LEFT.queueFull;
      hop.waiting += 1;
      try {
        await (await hop.writer).write(framed);
        return LEFT.written;
      } catch {
        this.forget(connection.remotePeer.toString(), hop);
        if (isLast || connection.status !== "open") return LEFT.writeFailed;
      } finally {
        hop.waiting -= 1;
      }
    }
    return LEFT.writeFailed;
  }

  private hop(connection: Connection) {
    const peer = connection.remotePeer.toString();
    const known = this.hops.get(peer);
    if (known?.connection === connection) return known;
    const signal = AbortSignal.timeout(OPEN_LIMIT_MS);
    const writer = connection.newStream(MIX_PROTOCOL, { signal }).then(frameWriter);
    const hop = { connection, writer, waiting: 0 };
    this.hops.set(peer, hop);
    return hop;
  }

  private forget(peer: string, hop: { writer: Promise<FrameWriter> }): void {
    if (this.hops.get(peer)?.writer === hop.writer) this.hops.delete(peer);
    hop.writer.then((writer) => writer.abort(), () => undefined);
  }

  /** A peer has gone. */
  drop(peer: string): void {
    const hop = this.hops.get(peer);
    if (hop !== undefined) this.forget(peer, hop);
  }

  close(): void {
    [...this.hops.keys()].forEach((peer) => this.drop(peer));
  }
}
