//! What a sender is told when its request comes to nothing, in the protocol of the request.

use wakumix_mix::ExitStatus;
use wakumix_waku::lightpush::{StatusCode, refusal::RefusalForm};

/// What goes back in place of an answer; empty where the protocol has no words for it.
pub(crate) fn refusal(form: &RefusalForm, status: ExitStatus) -> Vec<u8> {
    form.refuse(StatusCode(status.lightpush_code()), &status.describe())
}

#[cfg(test)]
mod tests {
    use wakumix_waku::{
        frame,
        lightpush::{V3_PROTOCOL, v3},
    };

    use super::*;

    #[test]
    fn every_status_reaches_the_sender_of_a_version_3_request() {
        for status in ExitStatus::ALL {
            let answer = refusal(&RefusalForm::of(V3_PROTOCOL, b"", 1024), status);
            let response = v3::Response::decode(frame::first_body(&answer, 1024).unwrap()).unwrap();
            assert!(!response.status_code.is_success());
            assert_eq!(ExitStatus::parse(&response.status_desc.unwrap()), Some(status));
        }
    }
}
