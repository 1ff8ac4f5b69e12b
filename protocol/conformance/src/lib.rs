//! Checks and writes vector files of the mix wire format
