//! What may be inferred from trips, and what an adversary can make of it.
