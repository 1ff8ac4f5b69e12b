// Commands and events of the engine, as bytes: the other side of engine/src/codec.rs, command.rs and event.rs. A number
// stands for each command and event: its place in the Rust enum.

/** A peer id as the bytes of its multihash. */
export type PeerBytes = Uint8Array;

/** Multiaddresses of one peer, in binary form. */
export interface Target {
  peer: PeerBytes;
  addresses: Uint8Array[];
}

export interface Settings {
  peer: PeerBytes;
  cluster: number;
  shards: number;
  profile: string;
  allowPrivate: boolean;
  secureOnly: boolean;
  timeoutMs?: number;
  coverMs?: number;
  keepsState: boolean;
  bootstrap: { peer: PeerBytes; address: Uint8Array }[];
}

export interface NamedNode extends Target {
  key: Uint8Array;
  lightpush: boolean;
}

export interface PushCommand {
  payload: Uint8Array;
  contentTopic: string;
  version: number;
  timestamp?: bigint;
  meta: Uint8Array;
  rateLimitProof: Uint8Array;
  ephemeral: boolean;
  pubsubTopic?: string;
  timeoutMs?: number;
  anonymity: "required" | "preferred";
}

/** What became of a packet. */
export const LEFT = { written: 0, queueFull: 1, notConnected: 2, writeFailed: 3 } as const;

export type DirectAnswer =
  | { kind: "answered"; bytes: Uint8Array }
  | { kind: "dialFailed" }
  | { kind: "unsupported" }
  | { kind: "streamFailed"; words: string };

export type Event =
  | { type: "started" }
  | { type: "refused"; words: string }
  | { type: "packet"; id: number; to: PeerBytes; bytes: Uint8Array }
  | ({ type: "dial" } & Target)
  | { type: "hangUp"; peer: PeerBytes }
  | { type: "fetch"; peer: PeerBytes; request: Uint8Array }
  | { type: "askDirectly"; id: number; services: Target[]; request: Uint8Array; limitMs: number }
  | { type: "outcome"; id: number; outcome: EngineOutcome }
  | { type: "status"; status: EngineStatus }
  | { type: "store"; state: Uint8Array }
  | { type: "verify"; id: number; signatures: SignatureToCheck[] };

/** A signature of a descriptor: the signer's key as libp2p writes it, what is signed, and the signature. */
export interface SignatureToCheck {
  publicKey: Uint8Array;
  signed: Uint8Array;
  signature: Uint8Array;
}

export interface EngineOutcome {
  exposure: { guards: number; exits: number; packets: number; replyPaths: number };
  tries: number;
  result:
    | {
        answered: true;
        kind: string;
        status: number;
        description?: string;
        relayPeerCount?: number;
        messageHash?: Uint8Array;
        roundTripMs: number;
        isDirect: boolean;
        directReason?: string;
      }
    | { answered: false; kind: string; words: string };
}

export interface EngineStatus {
  usable: number;
  known: number;
  guards: number;
  connectedGuards: number;
  lack?: { code: string; words: string };
}

const TEXT = new TextEncoder();
const WORDS = new TextDecoder();

class Writer {
  private bytes = new Uint8Array(256);
  private view = new DataView(this.bytes.buffer);
  private length = 0;

  private grow(by: number): number {
    const at = this.length;
    this.length += by;
    if (this.length > this.bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.bytes.length, this.length));
      larger.set(this.bytes);
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  u8(value: number): this {
    const at = this.grow(1);
    this.view.setUint8(at, value);
    return this;
  }

  flag(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  u16(value: number): this {
    const at = this.grow(2);
    this.view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.grow(4);
    this.view.setUint32(at, value, true);
    return this;
  }

  i64(value: bigint): this {
    const at = this.grow(8);
    this.view.setBigInt64(at, value, true);
    return this;
  }

  raw(value: Uint8Array): this {
    const at = this.grow(value.length);
    this.bytes.set(value, at);
    return this;
  }

  data(value: Uint8Array): this {
    return this.u32(value.length).raw(value);
  }

  text(value: string): this {
    return this.data(TEXT.encode(value));
  }

  option<T>(value: T | undefined, write: (value: T) => void): this {
    this.flag(value !== undefined);
    if (value !== undefined) write(value);
    return this;
  }

  list<T>(values: readonly T[], write: (value: T) => void): this {
    this.u32(values.length);
    values.forEach(write);
    return this;
  }

  done(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.at === this.bytes.length;
  }

  private skip(by: number): number {
    const at = this.at;
    this.at += by;
    return at;
  }

  u8(): number {
    return this.view.getUint8(this.skip(1));
  }

  u32(): number {
    return this.view.getUint32(this.skip(4), true);
  }

  f64(): number {
    return this.view.getFloat64(this.skip(8), true);
  }

  data(): Uint8Array {
    const length = this.u32();
    const at = this.skip(length);
    return this.bytes.slice(at, at + length);
  }

  text(): string {
    return WORDS.decode(this.data());
  }

  option<T>(read: () => T): T | undefined {
    return this.u8() === 1 ? read() : undefined;
  }

  list<T>(read: () => T): T[] {
    return Array.from({ length: this.u32() }, read);
  }

  target(): Target {
    return { peer: this.data(), addresses: this.list(() => this.data()) };
  }
}

/** One function for each command. */
export const command = {
  start(settings: Settings): Uint8Array {
    const w = new Writer().u8(0).data(settings.peer).u16(settings.cluster).u16(settings.shards).text(settings.profile);
    w.flag(settings.allowPrivate).flag(settings.secureOnly);
    w.option(settings.timeoutMs, (value) => w.u32(value)).option(settings.coverMs, (value) => w.u32(value));
    w.flag(settings.keepsState).list(settings.bootstrap, ({ peer, address }) => w.data(peer).data(address));
    return w.done();
  },
  restore: (state: Uint8Array) => new Writer().u8(1).data(state).done(),
  mixNode(node: NamedNode): Uint8Array {
    const w = new Writer().u8(2).data(node.peer);
    w.list(node.addresses, (address) => w.data(address)).data(node.key).flag(node.lightpush);
    return w.done();
  },
  connected: (peer: PeerBytes) => new Writer().u8(3).data(peer).done(),
  disconnected: (peer: PeerBytes) => new Writer().u8(4).data(peer).done(),
  dialFailed: (peer: PeerBytes) => new Writer().u8(5).data(peer).done(),
  online: () => new Writer().u8(6).done(),
  descriptors(peer: PeerBytes, answer: Uint8Array | undefined): Uint8Array {
    const w = new Writer().u8(7).data(peer);
    return w.option(answer, (bytes) => w.data(bytes)).done();
  },
  packet: (bytes: Uint8Array) => new Writer().u8(8).data(bytes).done(),
  left: (id: number, left: number) => new Writer().u8(9).u32(id).u8(left).done(),
  push(id: number, push: PushCommand): Uint8Array {
    const w = new Writer().u8(10).u32(id).data(push.payload).text(push.contentTopic).u32(push.version);
    w.option(push.timestamp, (value) => w.i64(value)).data(push.meta).data(push.rateLimitProof).flag(push.ephemeral);
    w.option(push.pubsubTopic, (value) => w.text(value)).option(push.timeoutMs, (value) => w.u32(value));
    return w.u8(push.anonymity === "required" ? 0 : 1).done();
  },
  forget: (id: number) => new Writer().u8(11).u32(id).done(),
  directAnswer(id: number, answer: DirectAnswer): Uint8Array {
    const w = new Writer().u8(12).u32(id);
    switch (answer.kind) {
      case "answered":
        return w.u8(0).data(answer.bytes).done();
      case "dialFailed":
        return w.u8(1).done();
      case "unsupported":
        return w.u8(2).done();
      case "streamFailed":
        return w.u8(3).text(answer.words).done();
    }
  },
  tick: () => new Writer().u8(13).done(),
  close: () => new Writer().u8(14).done(),
  verified: (id: number, good: boolean[]) => {
    const w = new Writer().u8(15).u32(id);
    return w.list(good, (isGood) => w.flag(isGood)).done();
  },
};

/** Reads the events that a call has given. */
export function readEvents(bytes: Uint8Array): Event[] {
  const r = new Reader(bytes);
  const events: Event[] = [];
  while (!r.isAtEnd) events.push(readEvent(r));
  return events;
}

function readEvent(r: Reader): Event {
  const number = r.u8();
  switch (number) {
    case 0:
      return { type: "started" };
    case 1:
      return { type: "refused", words: r.text() };
    case 2:
      return { type: "packet", id: r.u32(), to: r.data(), bytes: r.data() };
    case 3:
      return { type: "dial", ...r.target() };
    case 4:
      return { type: "hangUp", peer: r.data() };
    case 5:
      return { type: "fetch", peer: r.data(), request: r.data() };
    case 6: {
      const id = r.u32();
      const services = r.list(() => r.target());
      return { type: "askDirectly", id, services, request: r.data(), limitMs: r.u32() };
    }
    case 7:
      return { type: "outcome", id: r.u32(), outcome: readOutcome(r) };
    case 8:
      return { type: "status", status: readStatus(r) };
    case 9:
      return { type: "store", state: r.data() };
    case 10: {
      const id = r.u32();
      const signatures = r.list(() => ({ publicKey: r.data(), signed: r.data(), signature: r.data() }));
      return { type: "verify", id, signatures };
    }
    default:
      throw new Error(`the engine gave event ${number}, which this package does not know`);
  }
}

function readOutcome(r: Reader): EngineOutcome {
  const exposure = { guards: r.u32(), exits: r.u32(), packets: r.u32(), replyPaths: r.u32() };
  const tries = r.u32();
  if (r.u8() === 0) return { exposure, tries, result: { answered: false, kind: r.text(), words: r.text() } };
  const result = {
    answered: true as const,
    kind: r.text(),
    status: r.u32(),
    description: r.option(() => r.text()),
    relayPeerCount: r.option(() => r.u32()),
    messageHash: r.option(() => r.data()),
    roundTripMs: r.f64(),
    isDirect: r.u8() === 1,
    directReason: r.option(() => r.text()),
  };
  return { exposure, tries, result };
}

function readStatus(r: Reader): EngineStatus {
  return {
    usable: r.u32(),
    known: r.u32(),
    guards: r.u32(),
    connectedGuards: r.u32(),
    lack: r.option(() => ({ code: r.text(), words: r.text() })),
  };
}
