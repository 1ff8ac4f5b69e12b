//! The reply to a sender whose request fails, in the protocol of the request.

use wakumix_mix::{ExitStatus, exit::ReplyContent};
use wakumix_waku::lightpush::{StatusCode, refusal::RefusalForm};

/// What goes back in place of an answer.
pub(crate) fn refusal(form: &RefusalForm, status: ExitStatus) -> ReplyContent {
    let status = status.told();
    let response = form.refuse(StatusCode(status.lightpush_code()), &status.describe());
    ReplyContent::of_status(status, response)
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
            let ReplyContent::Status(answer) = refusal(&RefusalForm::of(V3_PROTOCOL, b"", 1024), status) else {
                panic!("{status:?} has words");
            };
            let response = v3::Response::decode(frame::first_body(&answer, 1024).unwrap()).unwrap();
            assert!(!response.status_code.is_success());
            assert_eq!(ExitStatus::parse(&response.status_desc.unwrap()), Some(status.told()));
        }
    }

    #[test]
    fn where_there_are_no_words_the_answer_is_empty_unless_the_service_has_answered() {
        for status in ExitStatus::ALL {
            let expected = match status {
                ExitStatus::AnswerTooLong => ReplyContent::Nothing,
                _ => ReplyContent::Status(Vec::new()),
            };
            assert_eq!(refusal(&RefusalForm::of("/ipfs/ping/1.0.0", b"", 1024), status), expected);
        }
    }
}
