//! Request budgets of services: `lightpush:100/1s` (`spec/waku.md §4.2`).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Timespan, ValueError};
use crate::convert_through_text;

/// How many requests a service takes in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RateLimit {
    /// Which service; `None` for every one.
    pub service: Option<String>,
    /// Requests in one period, at least 1.
    pub volume: u32,
    /// The period.
    pub period: Timespan,
}

/// Names that nwaku gives to services with a budget.
const SERVICES: [&str; 6] = ["lightpush", "mix", "filter", "px", "store", "storev3"];

impl RateLimit {
    /// What is accepted, as the end of "expected …".
    pub const FORM: &'static str = "a budget such as lightpush:100/1s";
    /// The word that stands for it in `--help`.
    pub const PLACEHOLDER: &'static str = "SERVICE:N/TIME";

    /// The budget of a service: its own entry, else the one for all services. `None` for no limit.
    #[must_use]
    pub fn of_service<'a>(limits: &'a [Self], service: &str) -> Option<&'a Self> {
        let own = |limit: &&Self| limit.service.as_deref() == Some(service);
        let common = |limit: &&Self| limit.service.is_none();
        limits.iter().rfind(own).or_else(|| limits.iter().rfind(common))
    }
}

impl FromStr for RateLimit {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let form = || ValueError::new(format!("`{text}` is not of the form lightpush:100/1s"));
        let (service, budget) = match text.split_once(':') {
            Some((service, budget)) => (Some(service.trim()), budget),
            None => (None, text),
        };
        if let Some(service) = service.filter(|name| !SERVICES.contains(name)) {
            let known = SERVICES.join(", ");
            return Err(ValueError::new(format!("`{service}` is not a service; known are {known}")));
        }
        let (volume, period) = budget.split_once('/').ok_or_else(form)?;
        let volume: u32 = volume.trim().parse().map_err(|_| form())?;
        let period: Timespan = period.parse()?;
        if volume == 0 || period.as_millis() == 0 {
            return Err(ValueError::new(format!("`{text}` lets nothing pass; use numbers above 0")));
        }
        Ok(Self { service: service.map(str::to_owned), volume, period })
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(service) = &self.service {
            write!(f, "{service}:")?;
        }
        write!(f, "{}/{}", self.volume, self.period)
    }
}

convert_through_text!(RateLimit);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_form_of_the_nwaku_and_writes_it_back() {
        for text in ["lightpush:100/1s", "5/500ms", "mix:3/1m"] {
            assert_eq!(text.parse::<RateLimit>().unwrap().to_string(), text);
        }
        let limit: RateLimit = "lightpush:10/2s".parse().unwrap();
        assert_eq!(limit.service.as_deref(), Some("lightpush"));
        assert_eq!((limit.volume, limit.period.as_millis()), (10, 2000));
    }

    #[test]
    fn a_service_has_its_own_budget_or_the_common_one() {
        let limits = ["lightpush:100/1s", "lightpush:7/1s"].map(|text| text.parse().unwrap());
        let volume = |limits: &[RateLimit], service| RateLimit::of_service(limits, service).map(|limit| limit.volume);
        assert_eq!((volume(&limits, "lightpush"), volume(&limits, "mix")), (Some(7), None));
        let common = ["lightpush:100/1s", "3/1s"].map(|text| text.parse().unwrap());
        assert_eq!((volume(&common, "lightpush"), volume(&common, "mix")), (Some(100), Some(3)));
    }

    #[test]
    fn refuses_what_is_no_budget() {
        for text in ["lightpush", "light:1/1s", "lightpush:0/1s", "lightpush:1/0s", "lightpush:1/1"] {
            assert!(text.parse::<RateLimit>().is_err(), "{text}");
        }
    }
}
