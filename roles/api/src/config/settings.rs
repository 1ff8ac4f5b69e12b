//! The values in force, and the table that makes a role's `Config` from them.

use std::collections::BTreeMap;

use super::{ConfigError, ConfigProblem, Form};

/// The values in force, by key, as canonical texts: one, or any number for a list. A key that is not set is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<&'static str, Vec<String>>);

impl Values {
    /// Of these keys.
    pub fn new(values: impl IntoIterator<Item = (&'static str, Vec<String>)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The texts of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(key).map(Vec::as_slice)
    }
}

/// What a role is configured from.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The values in force of every key, those that all roles share included.
    pub values: &'a Values,
    /// Whether the node passes packets of others on, because of any of its roles.
    pub forwards: bool,
}

impl Settings<'_> {
    /// The value of a key of this form; `otherwise` if it is not set, or if the node has no such key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read<T>(&self, key: &'static str, form: &impl Form<T>, otherwise: T) -> Result<T, ConfigError> {
        let Some(texts) = self.values.get(key) else { return Ok(otherwise) };
        form.read(texts).map_err(|error| ConfigError {
            problems: vec![ConfigProblem {
                field: key,
                problem: format!("is {}: {error}", texts.join(",")),
                help: format!("use {}", form.kind().form()),
            }],
        })
    }
}

/// Makes the `Config` of a role from the table of its keys.
///
/// A line is `field: type = default, form, "key", "meaning";`, under the heading of the keys; `"key" also "name"` where
/// nwaku has another name for it. Lines in `shared` are values of keys that the node has for all roles, or of no key.
///
/// Made are the struct, its `Default`, `keys()` and `shared_keys()` for the factory, `read()` from [`Settings`], and
/// `check_ranges()`, which reports every field that its form does not accept.
///
/// ```
/// use std::time::Duration;
/// use wakumix_role_api::config::{Settings, Values, flag, number, time};
///
/// wakumix_role_api::settings! {
///     /// How echoes are made.
///     "Echo role" {
///         loud: bool = false, flag(), "echo.loud", "answer in capital letters";
///         pause: Duration = Duration::from_secs(1), time(0..=60_000), "echo.pause", "wait before each answer";
///     }
///     shared {
///         /// The cluster of the node.
///         cluster: u16 = 0, number(0..=65_535), "cluster-id";
///     }
/// }
///
/// let values = Values::new([("echo.pause", vec!["50ms".to_owned()])]);
/// let config = Config::read(&Settings { values: &values, forwards: false })?;
/// assert_eq!(config, Config { pause: Duration::from_millis(50), ..Config::default() });
/// assert_eq!(Config::keys()[1].default.as_deref(), Some("1s"));
/// # Ok::<(), wakumix_role_api::ConfigError>(())
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        $group:literal {
            $($(#[$note:meta])* $field:ident: $type:ty = $default:expr, $form:expr, $key:literal $(also $alias:literal)*, $doc:literal;)*
        }
        $(shared {
            $($(#[$shared_note:meta])* $shared:ident: $shared_type:ty = $shared_default:expr $(, $shared_form:expr, $shared_key:literal)?;)*
        })?
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Config {
            $($(#[$note])* #[doc = concat!("`", $key, "`: ", $doc, ".")] pub $field: $type,)*
            $($($(#[$shared_note])* pub $shared: $shared_type,)*)?
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($field: $default,)* $($($shared: $shared_default,)*)? }
            }
        }

        impl Config {
            /// The keys of this role.
            #[must_use]
            pub fn keys() -> Vec<$crate::config::Key> {
                let defaults = Self::default();
                vec![$($crate::config::Key::of($group, $key, &$form, &defaults.$field, $doc).also(&[$($alias),*])),*]
            }

            /// The keys of the node that it reads.
            #[must_use]
            pub fn shared_keys() -> Vec<&'static str> {
                vec![$($($($shared_key,)?)*)?]
            }

            /// The values in force.
            ///
            /// # Errors
            /// What is wrong with the first that is.
            pub fn read(settings: &$crate::config::Settings<'_>) -> Result<Self, $crate::ConfigError> {
                let defaults = Self::default();
                Ok(Self {
                    $($field: settings.read($key, &$form, defaults.$field)?,)*
                    $($($shared: $crate::settings!(@shared settings, defaults.$shared $(, $shared_form, $shared_key)?),)*)?
                })
            }

            /// Reports every field that its form does not accept.
            pub(crate) fn check_ranges(&self, checks: &mut $crate::ConfigChecks) {
                $(checks.form(stringify!($field), &$form, &self.$field);)*
            }

            /// The problems of these settings with the keys that set them.
            #[allow(dead_code, reason = "a role without checks of its own has none")]
            pub(crate) fn by_key(error: $crate::ConfigError) -> $crate::ConfigError {
                error.by_key(&[
                    $((stringify!($field), $key),)*
                    $($($((stringify!($shared), $shared_key),)?)*)?
                ])
            }
        }
    };
    (@shared $settings:ident, $default:expr) => { $default };
    (@shared $settings:ident, $default:expr, $form:expr, $key:literal) => { $settings.read($key, &$form, $default)? };
}
