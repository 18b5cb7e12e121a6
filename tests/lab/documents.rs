//! The policy of the laboratory: the documents of the demonstration, which the end-to-end tests use too.

/// Names and texts, list files included.
pub const SITE: [(&str, &str); 6] = [
    ("objects.toml", include_str!("../demo/policies/objects.toml")),
    ("embargo.toml", include_str!("../demo/policies/embargo.toml")),
    ("quarantine.toml", include_str!("../demo/policies/quarantine.toml")),
    ("noc-only-ssh.toml", include_str!("../demo/policies/noc-only-ssh.toml")),
    ("services.toml", include_str!("../demo/policies/services.toml")),
    ("lists/embargo.cidr", include_str!("../demo/policies/lists/embargo.cidr")),
];
