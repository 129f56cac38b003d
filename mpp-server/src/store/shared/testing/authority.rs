//! Certificates for servers that a test starts.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::unique;

/// Who issues certificates, in a folder of its own that ends with it.
pub(in crate::store) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    pub(in crate::store) fn new() -> Self {
        let folder = std::env::temp_dir().join(unique("mpp_authority"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            folder,
        }
    }

    /// Its own certificate.
    pub(in crate::store) fn root(&self) -> Vec<u8> {
        self.issuer.pem().into()
    }

    /// A file with its own certificate.
    pub(in crate::store) fn root_file(&self) -> PathBuf {
        self.write("root.crt", &self.issuer.pem())
    }

    /// Files with a certificate for `host` and its key.
    pub(in crate::store) fn issue(&self, host: &str) -> [PathBuf; 2] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([String::from(host)]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        [
            self.write("server.crt", &certificate.pem()),
            self.write("server.key", &key.serialize_pem()),
        ]
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A port that nobody listens on, and that the system gives to nobody who asks
/// for any port, before it is listened on.
pub(in crate::store) fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut chosen = std::iter::repeat_with(|| rand::random_range(20_000..30_000));
    chosen.find(is_free).unwrap()
}

/// A path as it stands in settings that are split at spaces.
pub(in crate::store) fn plain(path: &Path) -> &str {
    let text = path.to_str().unwrap();
    assert!(!text.contains(char::is_whitespace), "{text}");
    text
}
