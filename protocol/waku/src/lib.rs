//! Waku messages, topics and shards, lightpush, metadata, node records
