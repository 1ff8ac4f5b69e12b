//! Configuration files of the node, TOML and YAML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_node::config::fuzzing::read;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A file that begins with a comment of YAML's only, `#-`, is YAML.
    match text.strip_prefix("#-") {
        Some(text) => read("node.yaml", text),
        None => read("node.toml", text),
    }
});
