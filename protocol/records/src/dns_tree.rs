//! Lists of nodes in DNS: the tree of TXT records of EIP-1459 (`spec/waku.md §6.4`).
//!
//! A list is named by a URL with the key that signs its root. The root names two subdomains, one of nodes and one of
//! links to other lists. Everything below is named by its own hash, so only the root needs a signature.

use std::{fmt, str::FromStr};

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use enr::{EnrPublicKey as _, k256::ecdsa::VerifyingKey};
use sha3::{Digest as _, Keccak256};

/// The longest TXT record that is read, in bytes. A node record takes 404 and a branch of the usual 13 children 366; ten
/// times a UDP answer of classic size leaves room for larger branches.
pub const MAX_TEXT: usize = 5120;
/// Bytes of a hash that a name gives at least and at most.
const HASH_LEN: std::ops::RangeInclusive<usize> = 12..=32;
/// Bytes of a root's signature: the last one, which would help to recover the key, is not needed.
const SIGNATURE_LEN: usize = 65;
/// The longest domain, in bytes: with the name of an entry in front it stays below the 255 of DNS.
const MAX_DOMAIN: usize = 190;

const URL_PREFIX: &str = "enrtree://";
const ROOT_PREFIX: &str = "enrtree-root:v1 ";
const BRANCH_PREFIX: &str = "enrtree-branch:";
const NODE_PREFIX: &str = "enr:";

/// Why a text is no URL of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It begins otherwise.
    #[error("the URL of a DNS list begins with {URL_PREFIX}")]
    Scheme,
    /// There is no `@`.
    #[error("the URL of a DNS list is {URL_PREFIX}<key>@<domain>; there is no @")]
    At,
    /// The key is not valid.
    #[error("the key of the DNS list is no secp256k1 key in base32 of 53 characters")]
    Key,
    /// The domain is not valid.
    #[error("the domain of the DNS list is no domain name of at most {MAX_DOMAIN} characters")]
    Domain,
}

/// Why a TXT record is no entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeEntryError {
    /// Longer than [`MAX_TEXT`].
    #[error("a record of {0} bytes, at most {MAX_TEXT} are accepted")]
    TooLong(usize),
    /// It is neither a branch nor a node nor a link.
    #[error("the record is no entry of a list")]
    Kind,
    /// The root's fields are not those of version 1.
    #[error("the record is no root of version 1")]
    Root,
    /// A name is no hash in base32.
    #[error("an entry's name is no hash")]
    Name,
    /// The root is not signed by the list's key.
    #[error("the root's signature is wrong")]
    Signature,
    /// The record is not the one that its name promises.
    #[error("the record does not have the hash that names it")]
    Hash,
    /// A link is not valid.
    #[error("the link is wrong: {0}")]
    Link(#[from] UrlError),
}

/// Where a list is, and who signs it. `Display` writes what `FromStr` reads.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeUrl {
    key: VerifyingKey,
    domain: String,
}

impl TreeUrl {
    /// The domain of the root.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Reads the root of this list and checks its signature.
    ///
    /// # Errors
    /// [`TreeEntryError::TooLong`], [`TreeEntryError::Root`], [`TreeEntryError::Name`] or [`TreeEntryError::Signature`].
    pub fn root(&self, text: &str) -> Result<Root, TreeEntryError> {
        Root::parse(text, &self.key)
    }
}

impl FromStr for TreeUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (key, domain) =
            text.strip_prefix(URL_PREFIX).ok_or(UrlError::Scheme)?.split_once('@').ok_or(UrlError::At)?;
        let key = BASE32_NOPAD.decode(key.as_bytes()).map_err(|_| UrlError::Key)?;
        let key = VerifyingKey::from_sec1_bytes(&key).map_err(|_| UrlError::Key)?;
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if domain.len() > MAX_DOMAIN || !domain.split('.').all(is_label) {
            return Err(UrlError::Domain);
        }
        Ok(Self { key, domain: domain.to_ascii_lowercase() })
    }
}

impl fmt::Display for TreeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{URL_PREFIX}{}@{}", BASE32_NOPAD.encode(self.key.encode().as_ref()), self.domain)
    }
}

/// The root of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The entry of the nodes.
    pub nodes: EntryName,
    /// The entry of the links.
    pub links: EntryName,
    /// Grows with every change of the list.
    pub seq: u64,
}

impl Root {
    fn parse(text: &str, key: &VerifyingKey) -> Result<Self, TreeEntryError> {
        check_length(text)?;
        let (signed, signature) = text.rsplit_once(" sig=").ok_or(TreeEntryError::Root)?;
        let mut fields = signed.strip_prefix(ROOT_PREFIX).ok_or(TreeEntryError::Root)?.split(' ');
        let mut field = |name| fields.next().and_then(|field| field.strip_prefix(name)).ok_or(TreeEntryError::Root);
        let (nodes, links, seq) = (field("e=")?, field("l=")?, field("seq=")?);
        if fields.next().is_some() {
            return Err(TreeEntryError::Root);
        }
        let root =
            Self { nodes: nodes.parse()?, links: links.parse()?, seq: seq.parse().map_err(|_| TreeEntryError::Root)? };
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| TreeEntryError::Signature)?;
        let is_good = match signature.split_last() {
            Some((_, signature)) if signature.len() + 1 == SIGNATURE_LEN => key.verify_v4(signed.as_bytes(), signature),
            _ => false,
        };
        if is_good { Ok(root) } else { Err(TreeEntryError::Signature) }
    }
}

/// The name of an entry below its domain: the beginning of the hash of its text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntryName(Vec<u8>);

impl EntryName {
    /// The name of an entry with this text, as those that make lists write it.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let hash: [u8; 32] = Keccak256::digest(text.as_bytes()).into();
        Self(hash[..16].to_vec())
    }

    /// Reads the entry of this name.
    ///
    /// # Errors
    /// [`TreeEntryError::Hash`] if `text` is not what the name stands for; else [`TreeEntryError`] but for the root's.
    pub fn entry(&self, text: &str) -> Result<Entry, TreeEntryError> {
        check_length(text)?;
        let hash: [u8; 32] = Keccak256::digest(text.as_bytes()).into();
        if !hash.starts_with(&self.0) {
            return Err(TreeEntryError::Hash);
        }
        if let Some(children) = text.strip_prefix(BRANCH_PREFIX) {
            let children = children.split(',').filter(|name| !name.is_empty());
            return Ok(Entry::Branch(children.map(str::parse).collect::<Result<_, _>>()?));
        }
        if text.starts_with(URL_PREFIX) {
            return Ok(Entry::Link(text.parse()?));
        }
        if text.starts_with(NODE_PREFIX) {
            return Ok(Entry::Node(text.to_owned()));
        }
        Err(TreeEntryError::Kind)
    }
}

impl FromStr for EntryName {
    type Err = TreeEntryError;

    fn from_str(text: &str) -> Result<Self, TreeEntryError> {
        let hash = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| TreeEntryError::Name)?;
        if HASH_LEN.contains(&hash.len()) { Ok(Self(hash)) } else { Err(TreeEntryError::Name) }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stands below the root.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Further entries.
    Branch(Vec<EntryName>),
    /// Another list.
    Link(TreeUrl),
    /// A node record in text form, not looked into.
    Node(String),
}

fn check_length(text: &str) -> Result<(), TreeEntryError> {
    if text.len() > MAX_TEXT { Err(TreeEntryError::TooLong(text.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use enr::{EnrKey as _, k256::ecdsa::SigningKey};
    use proptest::prelude::*;

    use super::*;

    // The example of EIP-1459.
    const URL: &str = "enrtree://AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2@morenodes.example.org";
    const ROOT: &str = "enrtree-root:v1 e=JWXYDBPXYWG6FX3GMDIBFA6CJ4 l=C7HRFPF3BLGF3YR4DY5KX3SMBE seq=1 sig=o908WmNp7LibOfPsr4btQwatZJ5URBr2ZAuxvK4UWHlsB9sUOTJQaGAlLPVAhM__XJesCHxLISo94z5Z2a463gA";
    const BRANCH: &str =
        "enrtree-branch:2XS2367YHAXJFGLZHVAWLQD4ZY,H4FHT4B454P6UXFD7JCYQ5PWDY,MHTDO6TMUBRIA2XWG5LUDACK24";
    const NODES: [(&str, &str); 3] = [
        (
            "2XS2367YHAXJFGLZHVAWLQD4ZY",
            "enr:-HW4QOFzoVLaFJnNhbgMoDXPnOvcdVuj7pDpqRvh6BRDO68aVi5ZcjB3vzQRZH2IcLBGHzo8uUN3snqmgTiE56CH3AMBgmlkgnY0iXNlY3AyNTZrMaECC2_24YYkYHEgdzxlSNKQEnHhuNAbNlMlWJxrJxbAFvA",
        ),
        (
            "H4FHT4B454P6UXFD7JCYQ5PWDY",
            "enr:-HW4QAggRauloj2SDLtIHN1XBkvhFZ1vtf1raYQp9TBW2RD5EEawDzbtSmlXUfnaHcvwOizhVYLtr7e6vw7NAf6mTuoCgmlkgnY0iXNlY3AyNTZrMaECjrXI8TLNXU0f8cthpAMxEshUyQlK-AM0PW2wfrnacNI",
        ),
        (
            "MHTDO6TMUBRIA2XWG5LUDACK24",
            "enr:-HW4QLAYqmrwllBEnzWWs7I5Ev2IAs7x_dZlbYdRdMUx5EyKHDXp7AV5CkuPGUPdvbv1_Ms1CPfhcGCvSElSosZmyoqAgmlkgnY0iXNlY3AyNTZrMaECriawHKWdDRk2xeZkrOXBQ0dfMFLHY4eENZwdufn1S1o",
        ),
    ];

    fn name(text: &str) -> EntryName {
        text.parse().unwrap()
    }

    fn signed_root(key: &SigningKey, seq: u64) -> String {
        let content = format!("enrtree-root:v1 e=JWXYDBPXYWG6FX3GMDIBFA6CJ4 l=C7HRFPF3BLGF3YR4DY5KX3SMBE seq={seq}");
        let mut signature = key.sign_v4(content.as_bytes()).unwrap();
        signature.push(0);
        format!("{content} sig={}", BASE64URL_NOPAD.encode(&signature))
    }

    #[test]
    fn reads_the_example_of_the_standard() {
        let Entry::Link(url) = name("C7HRFPF3BLGF3YR4DY5KX3SMBE").entry(URL).unwrap() else { panic!("no link") };
        assert_eq!((url.to_string().as_str(), url.domain()), (URL, "morenodes.example.org"));
        let Entry::Branch(children) = name("JWXYDBPXYWG6FX3GMDIBFA6CJ4").entry(BRANCH).unwrap() else {
            panic!("no branch")
        };
        assert_eq!(children.iter().map(ToString::to_string).collect::<Vec<_>>(), NODES.map(|(name, _)| name));
        for (child, (_, text)) in children.iter().zip(NODES) {
            assert_eq!(child.entry(text), Ok(Entry::Node(text.to_owned())));
            assert_eq!(EntryName::of(text), *child);
        }
    }

    #[test]
    fn the_root_of_the_example_has_the_signature_of_its_key() {
        // The key that the standard's authors sign examples with; the one in their text is another.
        let key = "AKPYQIUQIL7PSIACI32J7FGZW56E5FKHEFCCOFHILBIMW3M6LWXS2";
        let url: TreeUrl = format!("enrtree://{key}@nodes.example.org").parse().unwrap();
        let root = url.root(ROOT).unwrap();
        let names = (root.nodes.to_string(), root.links.to_string());
        assert_eq!(names, ("JWXYDBPXYWG6FX3GMDIBFA6CJ4".to_owned(), "C7HRFPF3BLGF3YR4DY5KX3SMBE".to_owned()));
        assert_eq!(root.seq, 1);
        assert_eq!(url.root(&ROOT.replace("seq=1", "seq=2")), Err(TreeEntryError::Signature));
    }

    #[test]
    fn a_root_of_another_key_is_refused() {
        let keys = [1, 2].map(|byte| SigningKey::from_slice(&[byte; 32]).unwrap());
        let url = TreeUrl { key: *keys[0].verifying_key(), domain: "example.org".to_owned() };
        assert_eq!(url.root(&signed_root(&keys[0], 7)).unwrap().seq, 7);
        assert_eq!(url.root(&signed_root(&keys[1], 7)), Err(TreeEntryError::Signature));
        assert_eq!(url.to_string().parse(), Ok(url));
    }

    #[test]
    fn the_public_lists_of_the_nwaku_are_urls() {
        for url in [
            "enrtree://AOGYWMBYOUIMOENHXCHILPKY3ZRFEULMFI4DOM442QSZ73TT2A7VI@test.waku.nodes.status.im",
            "enrtree://AIRVQ5DDA4FFWLRBCHJWUWOO6X6S4ZTZ5B667LQ6AJU6PEYDLRD5O@sandbox.waku.nodes.status.im",
        ] {
            assert_eq!(url.parse::<TreeUrl>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn a_url_that_is_wrong_says_what() {
        let key = "AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2";
        let long = format!("enrtree://{key}@{}", ["a"; 100].join("."));
        let cases = [
            ("https://example.org".to_owned(), UrlError::Scheme),
            (format!("enrtree://{key}"), UrlError::At),
            ("enrtree://AM5F@example.org".to_owned(), UrlError::Key),
            (format!("enrtree://{key}@"), UrlError::Domain),
            (format!("enrtree://{key}@a..b"), UrlError::Domain),
            (format!("enrtree://{key}@a b"), UrlError::Domain),
            (long, UrlError::Domain),
        ];
        for (url, error) in cases {
            assert_eq!(url.parse::<TreeUrl>(), Err(error), "{url}");
        }
    }

    #[test]
    fn a_record_under_another_name_is_refused() {
        let (other, _) = NODES[1];
        assert_eq!(name(other).entry(NODES[0].1), Err(TreeEntryError::Hash));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for text in ["", "enrtree-root:v1", "hello", "enrtree-branch"] {
            assert_eq!(EntryName::of(text).entry(text), Err(TreeEntryError::Kind), "{text}");
        }
        let branch = "enrtree-branch:2XS2367YHAXJFGLZHVAWLQD4ZY,2XS";
        assert_eq!(EntryName::of(branch).entry(branch), Err(TreeEntryError::Name));
        assert_eq!(EntryName::of("enrtree-branch:").entry("enrtree-branch:"), Ok(Entry::Branch(Vec::new())));
        let long = format!("enr:{}", "a".repeat(MAX_TEXT));
        assert_eq!(EntryName::of(&long).entry(&long), Err(TreeEntryError::TooLong(MAX_TEXT + 4)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(enrtree-root:v1 |enrtree-branch:|enrtree://|enr:)?[ -~]{0,200}") {
            let _ = EntryName::of(&text).entry(&text);
            let _ = text.parse::<TreeUrl>();
            let _ = URL.parse::<TreeUrl>().unwrap().root(&text);
        }
    }
}
