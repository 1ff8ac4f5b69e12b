//! How many requests are open and how many bytes they hold, and whether more are taken.

use crate::ClientError;

/// What may be open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AdmissionLimits {
    pub(crate) requests: usize,
    /// Bytes of their messages.
    pub(crate) bytes: usize,
}

/// Counts open requests.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    requests: usize,
    bytes: usize,
    is_closed: bool,
}

impl Admission {
    /// Admits so much at a time.
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        Self { limits, requests: 0, bytes: 0, is_closed: false }
    }

    /// Whether there is room for a request whose message has so many bytes.
    ///
    /// # Errors
    /// [`ClientError::Busy`], [`ClientError::Stopped`].
    pub(crate) fn check(&self, bytes: usize) -> Result<(), ClientError> {
        if self.is_closed {
            return Err(ClientError::Stopped);
        }
        let fits = self.requests < self.limits.requests && self.bytes.saturating_add(bytes) <= self.limits.bytes;
        if fits { Ok(()) } else { Err(ClientError::Busy) }
    }

    /// Admits a request.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn enter(&mut self, bytes: usize) -> Result<(), ClientError> {
        self.check(bytes)?;
        self.requests += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// A request has ended.
    pub(crate) fn leave(&mut self, bytes: usize) {
        self.requests = self.requests.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Requests that are open.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// Admits no more requests.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_their_bytes_are_bounded_and_come_back() {
        let mut admission = Admission::new(AdmissionLimits { requests: 2, bytes: 100 });
        assert_eq!(admission.enter(60), Ok(()));
        assert_eq!(admission.enter(41), Err(ClientError::Busy));
        assert_eq!(admission.enter(40), Ok(()));
        assert_eq!(admission.enter(0), Err(ClientError::Busy), "two are open");
        admission.leave(60);
        assert_eq!(admission.enter(60), Ok(()));
        admission.leave(40);
        admission.leave(60);
        assert_eq!((admission.requests(), admission.check(100)), (0, Ok(())));
        admission.close();
        assert_eq!(admission.enter(0), Err(ClientError::Stopped));
    }
}
