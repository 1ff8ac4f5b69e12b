//! `--wait`: asking a running node again until it says what is waited for.

use std::time::{Duration, Instant};

use wakumix_node::config::{Problem, Timespan};

use super::Failure;

/// Time between two questions. A node has no event for what it knows over REST.
const AGAIN: Duration = Duration::from_millis(200);

/// How long to wait for a node.
#[derive(Debug, Default, clap::Args)]
pub(super) struct WaitArgs {
    /// Wait until the node answers and has it, for a minute unless a time is named
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "1m")]
    wait: Option<Timespan>,
}

impl WaitArgs {
    /// Whether something is to be waited for.
    pub(super) fn is_given(&self) -> bool {
        self.wait.is_some()
    }

    /// What the question gives, asked again while it fails for a reason that may pass.
    ///
    /// # Errors
    /// That of the last question.
    pub(super) fn until<T>(&self, mut ask: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let start = Instant::now();
        loop {
            let (asked, waited) = (ask(), start.elapsed());
            match (asked, self.wait) {
                (Err(Failure::Runtime(_)), Some(limit)) if waited < limit.as_duration() => std::thread::sleep(AGAIN),
                (Err(Failure::Runtime(Problem { message, help })), Some(limit)) => {
                    return Err(Failure::Runtime(Problem { message: format!("{message}, after {limit}"), help }));
                }
                (asked, _) => return asked,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(text: &str) -> WaitArgs {
        WaitArgs { wait: Some(text.parse().unwrap()) }
    }

    #[test]
    fn a_question_is_asked_again_until_it_is_answered() {
        let mut asked = 0;
        let answer = waiting("1h").until(|| {
            asked += 1;
            if asked == 2 { Ok(7) } else { Err(Failure::while_running("not yet")) }
        });
        assert_eq!((answer.unwrap(), asked), (7, 2));
    }

    #[test]
    fn it_is_asked_once_without_the_flag_and_where_the_input_is_wrong() {
        let mut asked = 0;
        let mut fail = |wait: WaitArgs, failure: fn() -> Failure| {
            asked = 0;
            let said = wait.until::<()>(|| {
                asked += 1;
                Err(failure())
            });
            (said.unwrap_err().to_string(), asked)
        };
        let late = || Failure::while_running("no answer");
        assert_eq!(fail(WaitArgs::default(), late), ("error: no answer".to_owned(), 1));
        assert_eq!(fail(waiting("0ms"), late), ("error: no answer, after 0ms".to_owned(), 1));
        let (_, asked) = fail(waiting("1h"), || Failure::Input(Problem::bare("wrong").into()));
        assert_eq!(asked, 1);
    }
}
