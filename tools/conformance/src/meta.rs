//! Reads from a file's `meta` which wire profile its vectors belong to.

use serde_json::Value;
use wakumix_sphinx::{Block, Cipher, Profile};

use crate::show::shorten_text;

/// What a file holds.
pub(crate) enum Form<'a> {
    /// Sections of one profile.
    Sections(Profile),
    /// One worked run per profile, under the profile's name (the form of the specification's appendix A).
    Runs(Vec<(&'a str, Profile)>),
}

/// The names by which vector files call the profiles.
const VARIANTS: [(&str, Cipher, Block); 4] = [
    ("aesctr", Cipher::AesCtr, Block::Seq),
    ("aesctr-seq", Cipher::AesCtr, Block::Seq),
    ("lip183-seq", Cipher::Lioness, Block::Seq),
    ("lip183-pad", Cipher::Lioness, Block::Pad),
];

/// The profile of this cipher and block, without proof: vectors never hold one.
pub(crate) fn profile(cipher: Cipher, block: Block) -> Profile {
    Profile { cipher, block, proof_len: 0 }
}

/// The name by which vector files call a profile, if they have one.
pub(crate) fn variant(profile: Profile) -> Option<&'static str> {
    VARIANTS
        .iter()
        .find(|(_, cipher, block)| (*cipher, *block) == (profile.cipher, profile.block))
        .map(|(name, ..)| *name)
}

/// Which profiles the file `root` holds, or what its `meta` lacks.
pub(crate) fn form(root: &Value) -> Result<Form<'_>, String> {
    let Value::Object(map) = root else {
        return Err("not a vector file: the top level is not a JSON object".to_owned());
    };
    let runs: Vec<_> = map.keys().filter_map(|key| Some((key.as_str(), by_variant(key)?))).collect();
    if !runs.is_empty() {
        return Ok(Form::Runs(runs));
    }
    let meta = match map.get("meta") {
        Some(Value::Object(meta)) => meta,
        Some(_) => return Err("`meta` is not an object".to_owned()),
        None => {
            return Err(
                "`meta` is missing: it must name the profile by `variant`, or by `payload_cipher` and `message_block`"
                    .to_owned(),
            );
        }
    };
    let text = |field: &str| match meta.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("`meta.{field}` is not a text")),
    };
    let (variant, cipher, block) = (text("variant")?, text("payload_cipher")?, text("message_block")?);
    resolve(variant, cipher, block).map(Form::Sections)
}

fn resolve(variant: Option<&str>, cipher: Option<&str>, block: Option<&str>) -> Result<Profile, String> {
    let named = variant.and_then(by_variant);
    let cipher = match cipher {
        Some(text) => Some(read_cipher(text)?),
        None => named.map(|profile| profile.cipher),
    };
    let block = match block {
        Some(text) => Some(read_block(text)?),
        None => named.map(|profile| profile.block),
    };
    match (cipher, block) {
        (Some(cipher), Some(block)) => agree(profile(cipher, block), named, variant),
        // No release of the reference ever combined AES-CTR with another block.
        (Some(Cipher::AesCtr), None) => Ok(profile(Cipher::AesCtr, Block::Seq)),
        (Some(Cipher::Lioness), None) => {
            Err("`meta.message_block` is missing: it must begin with SEQ or PAD".to_owned())
        }
        (None, _) => Err(match variant {
            Some(name) => format!(
                "`meta.variant` {:?} is not known and `meta.payload_cipher` is missing; known variants: {}",
                shorten_text(name),
                VARIANTS.map(|(name, ..)| name).join(", ")
            ),
            None => "`meta.variant` and `meta.payload_cipher` are missing: one of them must name the payload cipher"
                .to_owned(),
        }),
    }
}

fn agree(found: Profile, named: Option<Profile>, variant: Option<&str>) -> Result<Profile, String> {
    match named {
        Some(named) if named != found => Err(format!(
            "`meta` contradicts itself: variant {:?} is {named}, but payload_cipher and message_block say {found}",
            variant.unwrap_or_default()
        )),
        _ => Ok(found),
    }
}

fn by_variant(name: &str) -> Option<Profile> {
    VARIANTS.iter().find(|(known, ..)| *known == name).map(|(_, cipher, block)| profile(*cipher, *block))
}

fn read_cipher(text: &str) -> Result<Cipher, String> {
    // The LIONESS line also mentions the AES stream inside it, so it is looked for first.
    if text.contains("LIONESS") && text.contains("LIP-183") {
        Ok(Cipher::Lioness)
    } else if text.contains("LIONESS") {
        Err(format!("`meta.payload_cipher` {:?}: only the LIONESS of LIP-183 is supported", shorten_text(text)))
    } else if text.contains("AES-128-CTR") {
        Ok(Cipher::AesCtr)
    } else {
        Err(format!(
            "`meta.payload_cipher` {:?} is not known; known: AES-128-CTR, LIONESS per LIP-183",
            shorten_text(text)
        ))
    }
}

fn read_block(text: &str) -> Result<Block, String> {
    match text.get(..3) {
        Some("SEQ") => Ok(Block::Seq),
        Some("PAD") => Ok(Block::Pad),
        _ => Err(format!("`meta.message_block` {:?} is not known; it must begin with SEQ or PAD", shorten_text(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(meta: &Value) -> Result<String, String> {
        let root = serde_json::json!({ "meta": meta });
        form(&root).map(|form| match form {
            Form::Sections(profile) => profile.to_string(),
            Form::Runs(_) => "runs".to_owned(),
        })
    }

    #[test]
    fn a_variant_names_the_profile() {
        for (name, expected) in
            [("aesctr", "aes-ctr/seq"), ("lip183-seq", "lioness/seq"), ("lip183-pad", "lioness/pad")]
        {
            let meta = serde_json::json!({ "variant": name });
            assert_eq!(resolved(&meta).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn cipher_and_block_name_the_profile_without_a_variant() {
        let meta = serde_json::json!({
            "payload_cipher": "LIONESS per LIP-183 (AES-128-CTR stream)",
            "message_block": "PAD: padding length, body",
        });
        assert_eq!(resolved(&meta).as_deref(), Ok("lioness/pad"));
        let meta = serde_json::json!({ "variant": "new-name", "payload_cipher": "AES-128-CTR" });
        assert_eq!(resolved(&meta).as_deref(), Ok("aes-ctr/seq"));
    }

    #[test]
    fn says_what_a_meta_lacks() {
        for (meta, part) in [
            (serde_json::json!({}), "`meta.variant` and"),
            (serde_json::json!({ "variant": "x" }), "known variants: aesctr"),
            (serde_json::json!({ "variant": 7 }), "`meta.variant` is not a text"),
            (serde_json::json!({ "payload_cipher": "LIONESS per LIP-183" }), "`meta.message_block` is missing"),
            (serde_json::json!({ "payload_cipher": "LIONESS with ChaCha20" }), "only the LIONESS of LIP-183"),
            (serde_json::json!({ "variant": "lip183-pad", "message_block": "SEQ: x" }), "contradicts itself"),
        ] {
            let error = resolved(&meta).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_file_of_runs_is_recognised_by_its_profile_names() {
        let root = serde_json::json!({ "meta": {}, "lip183-seq": {}, "aesctr-seq": {} });
        assert!(matches!(form(&root), Ok(Form::Runs(runs)) if runs.len() == 2));
    }
}
