//! What a program finds where it runs (SECURITY-CASES A22, A30).

use std::{collections::BTreeMap, fs, process::Command};

use mpp_core::SecretKey;
use mpp_server::{Misuse, PaymentServer};

use crate::{
    folder::Folder,
    tidy::{root, sources},
};

/// Says to the child where it is.
const CHILD: &str = "MPP_TEST_HOSTILE_DIRECTORY";

/// Files that other programs read from wherever they are started.
const BAIT: [(&str, &str); 6] = [
    (
        ".env",
        "MPP_SECRET_KEY=4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(\nMPP_REALM=evil.example\n",
    ),
    (
        "mpp.toml",
        "realm = \"evil.example\"\nsecret_key = \"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(\"\n",
    ),
    (
        "config.toml",
        "[mpp]\nrecipient = \"0x1111111111111111111111111111111111111111\"\n",
    ),
    (
        "mpp.json",
        "{\"secretKey\": \"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(\"}\n",
    ),
    ("MPP_SECRET_KEY", "4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(\n"),
    ("channels.store", "not a store\n"),
];

// Run by the test below, in a directory full of bait.
#[tokio::test]
async fn child_in_a_hostile_directory() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    for (name, _) in BAIT {
        assert!(fs::exists(name).unwrap(), "{name} is not here");
    }
    SecretKey::from_env("MPP_SECRET_KEY").unwrap_err();
    let refused = PaymentServer::builder().testnet().build();
    assert!(matches!(refused, Err(Misuse::Missing(_))), "{refused:?}");
    println!("the child has looked around");
}

#[test]
fn nothing_is_picked_up_from_the_current_directory() {
    let folder = Folder::new("hostile");
    fs::create_dir_all(&folder.0).unwrap();
    for (name, content) in BAIT {
        fs::write(folder.0.join(name), content).unwrap();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "security::surroundings::child_in_a_hostile_directory",
        ])
        .arg("--nocapture")
        .current_dir(&folder.0)
        .env(CHILD, "1")
        .env_remove("MPP_SECRET_KEY")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the child has looked around"), "{said}");
    let mut left: Vec<_> = fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut expected = BAIT.map(|(name, _)| name.to_owned());
    expected.sort();
    assert_eq!(left, expected);
}

/// Crates that others build on.
const LIBRARIES: [&str; 6] = [
    "mpp-core",
    "mpp-tempo",
    "mpp-server",
    "mpp-client",
    "mpp-http",
    "mpp-mcp",
];

// A30: paths are given, never looked for.
#[test]
fn no_library_looks_for_files_by_itself() {
    let words = [
        "current_dir",
        "dotenv",
        "home_dir",
        "libloading",
        "Command::new",
        "set_var",
    ];
    let mut bad = Vec::new();
    for source in sources() {
        let is_library = LIBRARIES
            .iter()
            .any(|name| source.path.starts_with(&format!("{name}/src/")));
        let is_test = source.path.contains("test");
        for word in words {
            if is_library && !is_test && source.text.contains(word) {
                bad.push(format!("{} has {word}", source.path));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

// A22: what a feature may do is add. A new one comes here with its reason, and none turns a check
// off.
#[test]
fn no_feature_turns_a_check_off() {
    let known: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("mpp-core", ["default", "std"].as_slice()),
        (
            "mpp-tempo",
            ["default", "std", "tx", "rpc", "libsecp256k1"].as_slice(),
        ),
        (
            "mpp-server",
            [
                "default",
                "embedded",
                "postgres",
                "redis",
                // It draws the ids of a thread from a seed, once `reproducible::seed` was called.
                "reproducible",
                "testing",
            ]
            .as_slice(),
        ),
        (
            "mpp-client",
            [
                "default",
                "durable-book",
                // As in mpp-server.
                "reproducible",
                "rpc-wallet",
                "testing",
            ]
            .as_slice(),
        ),
        ("mpp-http", ["default", "server", "client", "ws"].as_slice()),
        (
            "mpp-mcp",
            ["default", "server", "client", "rmcp"].as_slice(),
        ),
    ]);
    for name in LIBRARIES {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let features = manifest.get("features").and_then(toml::Value::as_table);
        for feature in features.into_iter().flat_map(toml::Table::keys) {
            assert!(
                known[name].contains(&feature.as_str()),
                "{name} has a feature {feature}"
            );
        }
    }
}
