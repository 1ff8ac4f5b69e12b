//! The relay role: gossipsub validation and the lightpush service
