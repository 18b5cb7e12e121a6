//! The policy of the laboratory: three of the shipped examples as they are, and a site of our own beside them. The
//! demonstration uses it and the end-to-end tests do.

/// Names and texts, list files included.
pub const SITE: [(&str, &str); 5] = [
    ("embargo.toml", include_str!("../../config/policies/embargo.toml")),
    ("lists/embargo.cidr", include_str!("../../config/policies/lists/embargo.cidr")),
    ("noc-ssh.toml", include_str!("../../config/policies/noc-ssh.toml")),
    ("quarantine.toml", include_str!("../../config/policies/quarantine.toml")),
    ("site.toml", include_str!("../demo/policies/site.toml")),
];
