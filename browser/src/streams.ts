// Frames on streams of either version of js-libp2p: the length of a body as a varint, then the body.

import type { AnyStream, Chunk, DuplexStream, MessageStream } from "./libp2p.js";

/** Bytes of the longest length that is read: five hold 32 bits. */
const MAX_PREFIX = 5;

function isDuplex(stream: AnyStream): stream is DuplexStream {
  return "sink" in stream;
}

function bytesOf(chunk: Chunk): Uint8Array {
  return chunk instanceof Uint8Array ? chunk : chunk.subarray();
}

/** A body behind its length. */
export function frame(body: Uint8Array): Uint8Array {
  const prefix: number[] = [];
  let left = body.length;
  while (left > 0x7f) {
    prefix.push((left & 0x7f) | 0x80);
    left >>>= 7;
  }
  prefix.push(left);
  const framed = new Uint8Array(prefix.length + body.length);
  framed.set(prefix);
  framed.set(body, prefix.length);
  return framed;
}

/** The bodies that come in on a stream, until it ends. Throws for one that is longer than `max`, as soon as its length is there. */
export async function* readFrames(stream: AnyStream, max: number): AsyncGenerator<Uint8Array> {
  let held = new Uint8Array(0);
  for await (const chunk of isDuplex(stream) ? stream.source : stream) {
    const bytes = bytesOf(chunk);
    const joined = new Uint8Array(held.length + bytes.length);
    joined.set(held);
    joined.set(bytes, held.length);
    held = joined;
    for (;;) {
      const taken = firstFrame(held, max);
      if (taken === undefined) break;
      held = held.slice(taken.end);
      yield taken.body;
    }
  }
}

function firstFrame(bytes: Uint8Array, max: number): { body: Uint8Array; end: number } | undefined {
  let length = 0;
  for (let at = 0; at < MAX_PREFIX; at += 1) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 2 ** (7 * at);
    if (length > max) break;
    if (byte <= 0x7f) {
      const end = at + 1 + length;
      return bytes.length < end ? undefined : { body: bytes.slice(at + 1, end), end };
    }
  }
  throw new Error(`a frame on a stream is longer than ${max} bytes`);
}

/** Writes one frame after the other to a stream. */
export interface FrameWriter {
  /** Resolves when the stream has taken the bytes. */
  write(bytes: Uint8Array): Promise<void>;
  abort(): void;
}

export function frameWriter(stream: AnyStream): FrameWriter {
  return isDuplex(stream) ? duplexWriter(stream) : messageWriter(stream);
}

function messageWriter(stream: MessageStream): FrameWriter {
  return {
    async write(bytes) {
      if (!stream.send(bytes)) await stream.onDrain({ signal: AbortSignal.timeout(10_000) });
    },
    abort: () => stream.abort(new Error("the stream is not needed any more")),
  };
}

interface Pending {
  bytes: Uint8Array;
  taken: () => void;
  failed: (error: Error) => void;
}

function duplexWriter(stream: DuplexStream): FrameWriter {
  const queue: Pending[] = [];
  let current: Pending | undefined;
  let broken: Error | undefined;
  let wake: (() => void) | undefined;

  async function* source(): AsyncGenerator<Uint8Array> {
    for (;;) {
      // Whoever asks for more has taken what came before.
      current?.taken();
      current = queue.shift();
      if (current !== undefined) yield current.bytes;
      else if (broken !== undefined) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  const fail = (error: Error) => {
    broken ??= error;
    current?.failed(broken);
    queue.splice(0).forEach((pending) => pending.failed(broken as Error));
    wake?.();
  };
  stream.sink(source()).then(
    () => fail(new Error("the stream is closed")),
    (error: unknown) => fail(error instanceof Error ? error : new Error(String(error))),
  );
  return {
    write(bytes) {
      if (broken !== undefined) return Promise.reject(broken);
      return new Promise<void>((taken, failed) => {
        queue.push({ bytes, taken, failed });
        wake?.();
      });
    },
    abort() {
      const error = new Error("the stream is not needed any more");
      fail(error);
      stream.abort(error);
    },
  };
}
