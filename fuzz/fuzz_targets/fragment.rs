//! Fragments of any bytes, and reassembly as a state machine: sound and changed fragments of several requests in any order, while
//! time passes. The bounds hold, only what was cut comes out, and nothing twice while its end is remembered.
#![no_main]

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::packets::{FORMATS, path, rng};
use wakumix_mix::fragment::{
    Fragment, HEADER_LEN, MAX_REASSEMBLED_LEN, Progress, Reassembly, ReassemblyLimits, SetId, SetRefusal, ShardCounts,
    cut,
};

const CODEC: &str = "/vac/waku/lightpush/3.0.0";
const LIMITS: ReassemblyLimits = ReassemblyLimits { sets: 3, bytes: 4096, age: Duration::from_secs(1) };
/// Ends that are remembered at least.
const REMEMBERED: usize = LIMITS.sets * 4;

/// The bytes of a request, and its fragments.
type Cut = (Vec<u8>, Vec<Vec<u8>>);

static REQUESTS: LazyLock<Vec<Cut>> = LazyLock::new(|| {
    let shapes = [(1, 0, 40), (1, 3, 300), (2, 0, 500), (2, 2, 2), (3, 1, 1000), (4, 4, 700), (8, 0, 90), (2, 1, 4000)];
    let request = |(number, (data, parity, len)): (u8, (u8, u8, usize))| {
        let bytes = vec![number + 1; len];
        let fragments = cut(&mut rng(number.into()), CODEC, &bytes, ShardCounts { data, parity }, MAX_REASSEMBLED_LEN);
        (bytes, fragments.expect("a sound request can be cut"))
    };
    (0..).zip(shapes).map(request).collect()
});

static SURB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    FORMATS[0].create_surb(&mut rng(1), &path(50)).expect("a fixed path is valid").0.to_bytes().to_vec()
});

/// What happens next, in six bytes.
struct Step {
    /// Which request.
    request: usize,
    /// Which of its fragments.
    index: usize,
    has_surb: bool,
    /// Where the fragment is changed, and how.
    change: (usize, u8),
    /// How much later it is.
    later: Duration,
}

impl Step {
    fn read([request, index, at @ .., change, later]: &[u8; 6]) -> Self {
        Self {
            request: usize::from(*request),
            index: usize::from(index & 0x7f),
            has_surb: index & 0x80 != 0,
            change: (at.iter().fold(0, |at, byte| at << 8 | usize::from(*byte)), *change),
            later: Duration::from_millis(u64::from(*later) * 10),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(fragment) = Fragment::decode(data) {
        let written = fragment.encode();
        assert!(data.starts_with(&written) && Fragment::decode(&written) == Ok(fragment));
    }
    let (mut reassembly, mut now) = (Reassembly::new(LIMITS), Duration::ZERO);
    // When each set was handed out, and how many had ended by then.
    let (mut handed_out, mut ended) = (BTreeMap::<SetId, (Duration, usize)>::new(), 0);
    for step in data.as_chunks().0.iter().map(Step::read) {
        now += step.later;
        let (_, fragments) = &REQUESTS[step.request % REQUESTS.len()];
        let mut bytes = fragments[step.index % fragments.len()].clone();
        // In a shard one byte is like the other, and one change like the other: with few of them, the sets that are restored are
        // few too.
        let (at, change) = match (step.change.0 % bytes.len(), step.change.1) {
            (HEADER_LEN.., change) => (HEADER_LEN, change & 1),
            in_header => in_header,
        };
        bytes[at] ^= change;
        let Ok(fragment) = Fragment::decode(&bytes) else { continue };
        let surbs = step.has_surb.then(|| FORMATS[0].read_surb(&SURB).expect("it is sound")).into_iter().collect();
        match reassembly.insert(now, fragment, surbs) {
            Progress::Complete { codec, data, surbs } => {
                assert!(codec == CODEC && REQUESTS.iter().any(|(request, _)| *request == data));
                assert!(surbs.len() <= fragment.shards().total());
                let before = handed_out.insert(fragment.set(), (now, ended));
                assert!(before.is_none_or(|(at, then)| now >= at + LIMITS.age || ended - then >= REMEMBERED), "twice");
                ended += 1;
            }
            Progress::Refused { reason: SetRefusal::Damaged | SetRefusal::NoRequest, .. } => ended += 1,
            _ => {}
        }
        assert!(reassembly.is_consistent());
        assert!(reassembly.sets() <= LIMITS.sets && reassembly.bytes() <= LIMITS.bytes);
    }
    reassembly.expire(now + LIMITS.age);
    assert_eq!((reassembly.sets(), reassembly.bytes()), (0, 0));
});
