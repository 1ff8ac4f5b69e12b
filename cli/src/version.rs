//! Which program this is.

/// The version, and the commit that it was built from where that is known.
pub(super) const VERSION: &str = env!("BUILD_VERSION");
