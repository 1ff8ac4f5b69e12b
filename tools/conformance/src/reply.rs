//! Opening replies: by the product, and step by step for packets that the product refuses (§9.3).

use wakumix_sphinx::{DELTA_LEN, Profile, ReplyError, Sphinx, SurbId, inspect};

use crate::block::{self, BlockForm};
use crate::hops::{Arrival, Seen};
use crate::report::Problem;
use crate::rules::Rule;

/// What the creator of a SURB keeps.
pub(crate) struct Credentials {
    pub(crate) id: [u8; 16],
    pub(crate) key: [u8; 16],
    pub(crate) secrets: [[u8; 32]; 3],
}

/// An opened reply.
pub(crate) struct Opened {
    profile: Profile,
    /// δ with all layers removed, as the reference would see it.
    plaintext: [u8; DELTA_LEN],
    /// What the product says.
    body: Result<Vec<u8>, ReplyError>,
}

/// Opens the reply that has arrived.
pub(crate) fn recover(profile: Profile, credentials: &Credentials, arrival: Arrival) -> Result<Opened, Problem> {
    let (Seen::Reply { mut packet, .. }, Some(raw)) = (arrival.seen, arrival.raw) else {
        return Err(Problem::new("status", "a reply", "another kind of packet"));
    };
    let keys = inspect::reply_keys(SurbId::from_bytes(credentials.id), credentials.key, credentials.secrets);
    let body = Sphinx::new(profile).open_reply(&keys, &mut packet).map(<[u8]>::to_vec);
    let mut plaintext = raw.delta;
    for secret in credentials.secrets.iter().rev() {
        inspect::add_layer(profile.cipher, secret, &mut plaintext);
    }
    inspect::unseal_reply(profile.cipher, &credentials.key, &mut plaintext);
    Ok(Opened { profile, plaintext, body })
}

impl Opened {
    /// The message block, zero prefix removed but not checked.
    pub(crate) fn block(&self) -> &[u8] {
        &self.plaintext[16..]
    }

    /// The body, if the product accepts the reply.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        self.body.as_deref().ok()
    }

    /// What the product said when it refused.
    pub(crate) fn refusal(&self) -> Option<&ReplyError> {
        self.body.as_ref().err()
    }

    /// Whether the 16 bytes in front of the block are zero.
    pub(crate) fn prefix_is_zero(&self) -> bool {
        self.plaintext[..16] == [0; 16]
    }

    /// Why the product may refuse a reply that the reference takes: by a rule, or (inner `None`) because the
    /// reference's next layer refuses the block as well.
    pub(crate) fn refusal_rule(&self) -> Option<Option<Rule>> {
        if !self.prefix_is_zero() {
            return Some(Some(Rule::ReplyPrefix));
        }
        match block::form(self.profile, self.block()) {
            BlockForm::Body(_) => None,
            BlockForm::DirtyPadding(_) => Some(Some(Rule::ZeroPadding)),
            BlockForm::BadLength => Some(None),
        }
    }
}
