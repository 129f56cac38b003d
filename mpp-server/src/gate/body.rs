//! Challenges that are good for one request body (PROTOCOL 1.1, body binding).

use mpp_core::BodyDigest;

use crate::error::Rejection;

/// What a transport knows of the body of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestBody {
    /// Nothing: it was not read.
    #[default]
    Unread,
    /// There is none, or it has no bytes.
    Empty,
    /// It has this digest.
    Hashed(BodyDigest),
}

impl RequestBody {
    /// A body that was read to its end.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Hashed(BodyDigest::of(bytes))
        }
    }
}

/// Whether payments for a route are bound to the request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyBinding {
    #[default]
    Free,
    Bound,
}

impl BodyBinding {
    /// The digest of a new challenge.
    pub(super) fn digest(self, body: RequestBody) -> Option<BodyDigest> {
        match (self, body) {
            (Self::Bound, RequestBody::Hashed(digest)) => Some(digest),
            (Self::Bound, RequestBody::Empty | RequestBody::Unread) | (Self::Free, _) => None,
        }
    }

    /// Compares the body with what the challenge was issued for; `echoed` is
    /// its digest as text.
    ///
    /// A digest counts wherever it stands. On a route that binds bodies, a
    /// challenge without one is good for requests without a body only.
    pub(super) fn check(self, echoed: Option<&str>, body: RequestBody) -> Result<(), Rejection> {
        let other = Err(Rejection::InvalidChallenge(
            "the challenge is for another request body",
        ));
        match (echoed, body) {
            // The MAC has shown that the text is ours. Both forms are read.
            (Some(text), RequestBody::Hashed(digest)) if text.parse() == Ok(digest) => Ok(()),
            (Some(text), RequestBody::Empty) if text.parse() == Ok(BodyDigest::of(&[])) => Ok(()),
            (Some(_), _) => other,
            (None, RequestBody::Empty) => Ok(()),
            (None, _) if self == Self::Free => Ok(()),
            (None, RequestBody::Hashed(_) | RequestBody::Unread) => Err(
                Rejection::InvalidChallenge("the challenge is not for this request body"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: BodyBinding = BodyBinding::Free;
    const BOUND: BodyBinding = BodyBinding::Bound;

    // PROTOCOL 1.1: both digest forms verify, over the bytes that came.
    #[test]
    fn a_digest_is_compared_with_the_body_wherever_it_stands() {
        let (mine, theirs) = (RequestBody::of(b"mine"), RequestBody::of(b"theirs"));
        let canonical = BodyDigest::of(b"mine").to_string();
        let bare = canonical.replace(':', "");
        for binding in [FREE, BOUND] {
            for text in [&canonical, &bare] {
                assert_eq!(binding.check(Some(text), mine), Ok(()), "{text}");
                for other in [theirs, RequestBody::Empty, RequestBody::Unread] {
                    assert!(binding.check(Some(text), other).is_err(), "{other:?}");
                }
            }
            assert!(binding.check(Some("md5=x"), mine).is_err());
        }
    }

    #[test]
    fn a_route_that_binds_takes_no_challenge_of_a_request_without_body() {
        let body = RequestBody::of(b"mine");
        assert_eq!(FREE.check(None, body), Ok(()));
        assert_eq!(FREE.check(None, RequestBody::Unread), Ok(()));
        assert!(BOUND.check(None, body).is_err());
        // Whoever did not look can not say that there is none.
        assert!(BOUND.check(None, RequestBody::Unread).is_err());
        assert_eq!(BOUND.check(None, RequestBody::Empty), Ok(()));
    }

    #[test]
    fn a_body_of_no_bytes_is_none() {
        assert_eq!(RequestBody::of(b""), RequestBody::Empty);
        assert_eq!(BOUND.digest(RequestBody::of(b"")), None);
        assert_eq!(FREE.digest(RequestBody::of(b"x")), None);
        let digest = BodyDigest::of(b"x");
        assert_eq!(BOUND.digest(RequestBody::of(b"x")), Some(digest));
        // Peers may bind a challenge to the body of no bytes.
        let empty = BodyDigest::of(b"").to_string();
        assert_eq!(BOUND.check(Some(&empty), RequestBody::Empty), Ok(()));
    }
}
