// The engine: one instance of the WebAssembly module for each client.

import { readEvents, type Event } from "./codec.js";
import { MixError } from "./errors.js";

/** Where the module comes from: its address, an answer of `fetch`, its bytes, or the compiled module. */
export type WasmSource = string | URL | Response | BufferSource | WebAssembly.Module;

interface Exports {
  memory: WebAssembly.Memory;
  input(length: number): number;
  handle(now: number, unix: number): number;
  output(): number;
  next_wake(): number;
}

/** Most bytes that the browser fills with randomness at a time. */
const RANDOM_AT_ONCE = 65_536;

export class Engine {
  private constructor(private readonly exports: Exports) {}

  static async load(source: WasmSource): Promise<Engine> {
    let memory: WebAssembly.Memory | undefined;
    const random = (at: number, length: number) => {
      if (memory === undefined) throw new Error("randomness before the start");
      for (let done = 0; done < length; done += RANDOM_AT_ONCE) {
        const count = Math.min(RANDOM_AT_ONCE, length - done);
        crypto.getRandomValues(new Uint8Array(memory.buffer, at + done, count));
      }
    };
    const instance = await WebAssembly.instantiate(await compiled(source), { env: { random } }).catch(cannotLoad);
    const exports = instance.exports as unknown as Exports;
    memory = exports.memory;
    return new Engine(exports);
  }

  /** Carries out a command. Throws if the module has trapped; it is of no use then. */
  handle(command: Uint8Array): Event[] {
    const { memory, input, handle, output } = this.exports;
    const at = input(command.length);
    new Uint8Array(memory.buffer, at, command.length).set(command);
    const length = handle(performance.now(), Date.now());
    return readEvents(new Uint8Array(memory.buffer, output(), length));
  }

  /** Milliseconds until a `tick` is due; infinity if none is. */
  wakeIn(): number {
    return Math.max(0, this.exports.next_wake() - performance.now());
  }

  /** Bytes that the module holds. */
  get memoryBytes(): number {
    return this.exports.memory.buffer.byteLength;
  }
}

async function compiled(source: WasmSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  try {
    if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return await WebAssembly.compile(source as BufferSource);
    const response = source instanceof Response ? source : await fetch(source);
    if (!response.ok) {
      throw new MixError("wasm", `engine.wasm could not be loaded from ${response.url}: status ${response.status}; serve the file of the package there, or pass its address as \`wasm\``);
    }
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    return cannotLoad(error);
  }
}

function cannotLoad(error: unknown): never {
  if (error instanceof MixError) throw error;
  const words = error instanceof Error ? error.message : String(error);
  const isForbidden = /Content Security Policy|unsafe-eval/i.test(words);
  throw new MixError(
    "wasm",
    isForbidden
      ? "the page's Content-Security-Policy forbids WebAssembly; add 'wasm-unsafe-eval' to its script-src"
      : `engine.wasm could not be loaded: ${words}; serve the file of the package with its page, or pass its address as \`wasm\``,
    { cause: error },
  );
}
