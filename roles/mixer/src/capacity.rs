//! How many packets this machine can unwrap: measured once at the start, for the admission of packets.

use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use wakumix_mix::{DelayLaw, admission::Capacity, encode_cover};
use wakumix_role_api::{Formats, Workers};
use wakumix_sphinx::{ADDRESS_LEN, Opened, PacketFormat, PathHop, PrivateKey};
use wakumix_telemetry::Telemetry;

use crate::{config::Config, delay_queue::Bounds, metrics::Metric};

/// What a measurement takes in all: some hundred packets a worker, so that a few interruptions do not matter, and not enough
/// to be felt at a start.
const TIME: Duration = Duration::from_millis(80);

/// What the admission of packets is to be made for: packets per second of the whole node that the operator has set, else that
/// [`measure_capacity`] finds, and what the mixer's queues have room for. Exports the first.
#[must_use]
pub(crate) fn node_capacity(config: &Config, formats: &Formats, workers: &Workers, telemetry: &Telemetry) -> Capacity {
    let rate = match config.capacity {
        0 => measure_capacity(formats, workers.count()),
        set => set,
    };
    telemetry.gauge(Metric::CapacityPacketsPerSecond, &[]).set(f64::from(rate));
    Capacity {
        packets_per_second: NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN),
        waiting: config.max_waiting,
        held: Bounds::new(config.max_held, formats).room(formats),
    }
}

/// Packets a second that `workers` threads can authenticate, open and blind; of several formats those of the slowest. At
/// least 1. Nothing else of a packet's way through a node is measured; where that is much, the node is under pressure
/// ([`wakumix_mix::admission::Pressure`]) and takes less.
///
/// Blocks for about 80 ms with all workers busy; packets are made for keys that are thrown away.
#[must_use]
pub fn measure_capacity(formats: &Formats, workers: usize) -> u32 {
    let formats = formats.all();
    let time = TIME / u32::try_from(formats.len().max(1)).unwrap_or(u32::MAX);
    let samples = formats.iter().filter_map(|served| Sample::new(served.format.as_ref()));
    let rates = samples.map(|sample| sample.rate_of_all(workers.max(1), time));
    whole(rates.reduce(f64::min).unwrap_or_default())
}

/// A packet to forward, and the key that opens it.
struct Sample<'f> {
    format: &'f dyn PacketFormat,
    key: PrivateKey,
    packet: Vec<u8>,
}

impl<'f> Sample<'f> {
    /// `None` if the format cannot build one, which would show elsewhere.
    fn new(format: &'f dyn PacketFormat) -> Option<Self> {
        let mut rng = rand::rng();
        let keys: [_; 3] = std::array::from_fn(|_| PrivateKey::generate(&mut rng));
        let delay_ms = DelayLaw::default().encode();
        // Addresses are nothing but bytes to this hop.
        let path = keys.each_ref().map(|key| PathHop { key: key.public(), address: [1; ADDRESS_LEN], delay_ms });
        let body = encode_cover(&mut rng, format);
        let mut packet = vec![0; format.packet_len()];
        format.build(&mut rng, &path, &[0; ADDRESS_LEN], &body, &mut packet).ok()?;
        let [key, ..] = keys;
        Some(Self { format, key, packet })
    }

    /// Packets a second of all threads together.
    fn rate_of_all(&self, threads: usize, time: Duration) -> f64 {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.rate(time))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
        })
    }

    /// Packets a second of this thread.
    fn rate(&self, time: Duration) -> f64 {
        let mut buffer = self.packet.clone();
        let mut packets = 0_u32;
        let started = Instant::now();
        while started.elapsed() < time && self.unwrap(&mut buffer).is_some() {
            packets += 1;
        }
        f64::from(packets) / started.elapsed().as_secs_f64()
    }

    /// What a worker does with a packet that goes on.
    fn unwrap(&self, buffer: &mut [u8]) -> Option<()> {
        buffer.copy_from_slice(&self.packet);
        let authenticated = self.format.authenticate(&self.key, buffer).ok()?;
        match self.format.open(buffer, authenticated).ok()? {
            Opened::Forward { blinding, .. } => self.format.blind(buffer, blinding).ok(),
            Opened::Exit { .. } | Opened::Reply { .. } => None,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1 and u32::MAX")]
fn whole(rate: f64) -> u32 {
    rate.clamp(1.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use wakumix_sphinx::{Profile, Sphinx};

    use super::*;

    #[test]
    fn a_sample_goes_the_way_of_a_packet_that_is_forwarded() {
        let format = Sphinx::new(Profile::default());
        let sample = Sample::new(&format).unwrap();
        let mut buffer = sample.packet.clone();
        // Again and again: the sample itself stays as it is.
        assert_eq!([(); 3].map(|()| sample.unwrap(&mut buffer)), [Some(()); 3]);
        assert_ne!(buffer, sample.packet);
    }

    #[test]
    fn any_machine_unwraps_more_than_one_packet_a_second() {
        assert!(measure_capacity(&Formats::one(Sphinx::new(Profile::default()), 1), 2) > 1);
    }

    #[test]
    fn what_is_set_is_not_measured_and_both_are_exported() {
        let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
        let formats = Formats::one(Sphinx::new(Profile::default()), 1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (tasks, _) = wakumix_role_api::Tasks::new(runtime.handle().clone(), telemetry.clone());
        let workers = Workers::new(std::num::NonZeroUsize::MIN, tasks);
        let config = Config { capacity: 1234, ..Config::default() };
        let capacity = node_capacity(&config, &formats, &workers, &telemetry);
        assert_eq!((capacity.packets_per_second.get(), capacity.waiting, capacity.held), (1234, 1024, 8192));
        assert!(telemetry.render().contains("waku_mix_capacity_packets_per_second 1234"));
    }
}
