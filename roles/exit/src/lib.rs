//! The exit role: takes packets whose path ends here, asks the service, answers through reply blocks
