//! The sender role: lightpush over the mixnet
