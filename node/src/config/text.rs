//! serde through `Display` and `FromStr`, for types of other crates.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// Lists of role names.
pub(crate) mod roles {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
    use wakumix_role_api::RoleName;

    pub(crate) fn serialize<S: Serializer>(roles: &[RoleName], serializer: S) -> Result<S::Ok, S::Error> {
        let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        names.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D>(deserializer: D) -> Result<Vec<RoleName>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let names = Vec::<String>::deserialize(deserializer)?;
        names
            .iter()
            .map(|name| {
                RoleName::ALL
                    .into_iter()
                    .find(|role| role.as_str() == name)
                    .ok_or_else(|| D::Error::custom(format!("`{name}` is not a role")))
            })
            .collect()
    }
}
