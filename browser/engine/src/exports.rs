//! The exports to JavaScript: one buffer and one call. A module is one client; a page that wants two makes two of it.
//!
//! 1. `input(len)` gives the place for a command of so many bytes;
//! 2. `handle(now, unix)` carries out what was written there, at these times in milliseconds, and returns how many bytes of
//!    events there are at `output()`;
//! 3. `next_wake()` says when `handle` is due again, with a `Tick`; infinity if not.
//!
//! `env.random(at, len)` must fill so many bytes with randomness of the browser's.

#![allow(unsafe_code, reason = "exports, an import, and their one buffer")]

use std::{cell::RefCell, time::Duration};

use rand_core::{Infallible, TryCryptoRng, TryRng};
use zeroize::Zeroize;

use crate::{Clock, Engine};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn random(at: *mut u8, len: usize);
}

fn fill(bytes: &mut [u8]) {
    // SAFETY: the page writes `len` bytes at `at`, which are ours.
    unsafe { random(bytes.as_mut_ptr(), bytes.len()) }
}

/// The browser's randomness, fetched in blocks: a call into JavaScript costs more than most draws.
struct PageRandom {
    block: [u8; 256],
    used: usize,
}

impl PageRandom {
    const fn new() -> Self {
        Self { block: [0; 256], used: 256 }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        if self.used + N > self.block.len() {
            fill(&mut self.block);
            self.used = 0;
        }
        if let Some(source) = self.block.get_mut(self.used..self.used + N) {
            bytes.copy_from_slice(source);
            source.zeroize();
        }
        self.used += N;
        bytes
    }
}

impl TryRng for PageRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.take()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.take()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for PageRandom {}

/// The backend of getrandom, which some dependencies name.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(at: *mut u8, len: usize) -> Result<(), getrandom::Error> {
    // SAFETY: getrandom passes `len` bytes at `at` to be written.
    unsafe { random(at, len) }
    Ok(())
}

struct Module {
    engine: Engine<PageRandom>,
    input: Vec<u8>,
    output: Vec<u8>,
}

thread_local! {
    static MODULE: RefCell<Module> =
        RefCell::new(Module { engine: Engine::new(PageRandom::new()), input: Vec::new(), output: Vec::new() });
}

/// A place for a command of `len` bytes.
#[unsafe(no_mangle)]
extern "C" fn input(len: usize) -> *mut u8 {
    MODULE.with_borrow_mut(|module| {
        module.input.clear();
        module.input.resize(len, 0);
        module.input.as_mut_ptr()
    })
}

/// Carries out the command at `input`; returns the length of the events at `output`.
#[unsafe(no_mangle)]
extern "C" fn handle(now_ms: f64, unix_ms: f64) -> usize {
    let now = Duration::try_from_secs_f64(now_ms / 1000.0).unwrap_or_default();
    let unix = Duration::try_from_secs_f64(unix_ms / 1000.0).unwrap_or_default();
    MODULE.with_borrow_mut(|module| {
        module.output.zeroize();
        module.output = module.engine.handle_bytes(Clock { now, unix }, &module.input);
        module.input.zeroize();
        module.output.len()
    })
}

/// Where the events are.
#[unsafe(no_mangle)]
extern "C" fn output() -> *const u8 {
    MODULE.with_borrow(|module| module.output.as_ptr())
}

/// When the next `Tick` is due, in milliseconds of the page's clock.
#[unsafe(no_mangle)]
extern "C" fn next_wake() -> f64 {
    MODULE.with_borrow(|module| module.engine.next_wake().map_or(f64::INFINITY, |wake| wake.as_secs_f64() * 1000.0))
}
