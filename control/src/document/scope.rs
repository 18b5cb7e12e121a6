//! From the selectors that a policy writes to the ones that are evaluated: namespaces and service accounts become labels.
//!
//! Calico combines the texts (`libcalico-go/lib/backend/syncersv1/updateprocessors`), and what its replacement of `all()`
//! does to them is part of the meaning: it also hits an `all()` that stands elsewhere in the combined text (policy model,
//! Q7).

use classifier::selector::Selector;

use crate::resolve::{NAMESPACE, NAMESPACE_PREFIX, SERVICE_ACCOUNT, SERVICE_ACCOUNT_PREFIX};

/// The selectors of a policy as written; empty ones are the same as none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PolicySelectors<'a> {
    pub(super) selector: &'a str,
    pub(super) namespaces: &'a str,
    pub(super) service_accounts: &'a str,
}

impl PolicySelectors<'_> {
    /// What a policy of no namespace selects (`globalnetworkpolicyprocessor.go`).
    pub(super) fn global(&self) -> String {
        let mut text = self.selector.to_owned();
        if !self.namespaces.is_empty() {
            text = with(&text, self.namespaces, NAMESPACE_PREFIX);
            text = text.replace("all()", &format!("has({NAMESPACE})"));
        }
        if !self.service_accounts.is_empty() {
            text = with(&text, self.service_accounts, SERVICE_ACCOUNT_PREFIX);
            text = text.replace("all()", &format!("has({SERVICE_ACCOUNT})"));
        }
        text
    }

    /// What a policy of that namespace selects (`networkpolicyprocessor.go`).
    pub(super) fn of_namespace(&self, namespace: &str) -> String {
        let own = format!("{NAMESPACE} == '{namespace}'");
        let text =
            if self.selector.is_empty() { own } else { format!("({}) && {own}", self.selector) };
        if self.service_accounts.is_empty() {
            text
        } else {
            with(&text, self.service_accounts, SERVICE_ACCOUNT_PREFIX)
        }
    }
}

/// The selectors of a peer as written; empty ones are the same as none.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerSelectors<'a> {
    pub(super) selector: &'a str,
    pub(super) not_selector: &'a str,
    pub(super) namespaces: &'a str,
    pub(super) service_account_names: Vec<&'a str>,
    pub(super) service_accounts: &'a str,
}

impl PeerSelectors<'_> {
    /// What the peer must be, beside its `notSelector`; empty: anything (`rules.go`, `getEndpointSelector`).
    ///
    /// In a policy of a namespace every peer that is selected at all is in that namespace, unless it says which ones.
    pub(super) fn effective(&self, namespace: Option<&str>) -> String {
        let accounts = self.accounts();
        let selector = match (accounts.as_str(), self.selector) {
            ("", selector) => selector.to_owned(),
            (accounts, "") => accounts.to_owned(),
            (accounts, selector) => format!("({accounts}) && ({selector})"),
        };
        let namespaces = if !self.namespaces.is_empty() {
            prefixed(self.namespaces, NAMESPACE_PREFIX)
                .replace("all()", &format!("has({NAMESPACE})"))
                .replace("global()", &format!("!has({NAMESPACE})"))
        } else if let Some(namespace) = namespace {
            format!("{NAMESPACE} == '{namespace}'")
        } else {
            return selector;
        };
        let is_selected =
            !(selector.is_empty() && self.not_selector.is_empty() && self.namespaces.is_empty());
        match (is_selected, selector.is_empty()) {
            (false, _) => selector,
            (true, true) => namespaces,
            (true, false) => format!("({namespaces}) && ({selector})"),
        }
    }

    /// What `serviceAccounts` asks (`rules.go`, `parseServiceAccounts`).
    fn accounts(&self) -> String {
        let selected = if self.service_accounts.is_empty() {
            String::new()
        } else {
            prefixed(self.service_accounts, SERVICE_ACCOUNT_PREFIX)
        };
        if self.service_account_names.is_empty() {
            return selected;
        }
        let names = self.service_account_names.join("', '");
        let named = canonical(&format!("{SERVICE_ACCOUNT} in {{ '{names}' }}"));
        if selected.is_empty() { named } else { format!("({selected}) && ({named})") }
    }
}

/// Both selectors, the second over labels with `prefix`.
fn with(text: &str, more: &str, prefix: &str) -> String {
    let more = prefixed(more, prefix);
    if text.is_empty() { more } else { format!("({text}) && {more}") }
}

/// The canonical text of a selector over labels with `prefix`. Whoever calls has read it before.
fn prefixed(text: &str, prefix: &str) -> String {
    Selector::parse(text).map_or_else(|_| text.to_owned(), |s| s.with_prefix(prefix).to_string())
}

fn canonical(text: &str) -> String {
    Selector::parse(text).map_or_else(|_| text.to_owned(), |selector| selector.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_policies_select_by_labels_of_namespaces_and_accounts() {
        let text = |selector, namespaces, service_accounts| {
            PolicySelectors { selector, namespaces, service_accounts }.global()
        };
        assert_eq!(text("a == 'b'", "", ""), "a == 'b'");
        assert_eq!(text("", "x in {'b','a'}", ""), "pcns.x in {\"a\", \"b\"}");
        assert_eq!(text("a == 'b'", "x == 'y'", ""), "(a == 'b') && pcns.x == \"y\"");
        assert_eq!(text("", "all()", ""), "has(projectcalico.org/namespace)");
        assert_eq!(
            text("a == 'b'", "x == 'y'", "z == 'w'"),
            "((a == 'b') && pcns.x == \"y\") && pcsa.z == \"w\""
        );
    }

    #[test]
    fn all_is_replaced_wherever_it_stands() {
        let text = |selector, namespaces, service_accounts| {
            PolicySelectors { selector, namespaces, service_accounts }.global()
        };
        assert_eq!(
            text("all()", "x == 'y'", ""),
            "(has(projectcalico.org/namespace)) && pcns.x == \"y\""
        );
        assert_eq!(
            text("all()", "", "all()"),
            "(has(projectcalico.org/serviceaccount)) && has(projectcalico.org/serviceaccount)"
        );
        assert_eq!(
            text("a == 'all()'", "", "has(x)"),
            "(a == 'has(projectcalico.org/serviceaccount)') && has(pcsa.x)"
        );
    }

    #[test]
    fn policies_of_a_namespace_select_in_it() {
        let text = |selector, service_accounts| {
            PolicySelectors { selector, namespaces: "", service_accounts }.of_namespace("n")
        };
        assert_eq!(text("", ""), "projectcalico.org/namespace == 'n'");
        assert_eq!(text("a || b", ""), "(a || b) && projectcalico.org/namespace == 'n'");
        assert_eq!(
            text("all()", "all()"),
            "((all()) && projectcalico.org/namespace == 'n') && all()"
        );
    }

    #[test]
    fn peers_of_a_namespaced_policy_are_in_its_namespace_once_they_are_selected() {
        let own = "projectcalico.org/namespace == 'n'";
        let none = PeerSelectors::default();
        assert_eq!(none.effective(Some("n")), "");
        let selected = PeerSelectors { selector: "a == 'b'", ..none.clone() };
        assert_eq!(selected.effective(None), "a == 'b'");
        assert_eq!(selected.effective(Some("n")), format!("({own}) && (a == 'b')"));
        let not = PeerSelectors { not_selector: "a == 'b'", ..none.clone() };
        assert_eq!(not.effective(None), "");
        assert_eq!(not.effective(Some("n")), own);
        let account = PeerSelectors { service_account_names: vec!["s", "r"], ..none.clone() };
        let accounts = "projectcalico.org/serviceaccount in {\"r\", \"s\"}";
        assert_eq!(account.effective(None), accounts);
        assert_eq!(account.effective(Some("n")), format!("({own}) && ({accounts})"));
        let both = PeerSelectors { selector: "a == 'b'", service_accounts: "has(x)", ..account };
        assert_eq!(both.effective(None), format!("((has(pcsa.x)) && ({accounts})) && (a == 'b')"));
    }

    #[test]
    fn peers_of_other_namespaces_are_selected_by_their_labels() {
        let peer = |namespaces, selector| {
            PeerSelectors { selector, namespaces, ..PeerSelectors::default() }.effective(Some("n"))
        };
        assert_eq!(peer("global()", ""), "!has(projectcalico.org/namespace)");
        assert_eq!(peer("all()", ""), "has(projectcalico.org/namespace)");
        assert_eq!(peer("x == 'y'", "all()"), "(pcns.x == \"y\") && (all())",);
        assert_eq!(peer("", "all()"), "(projectcalico.org/namespace == 'n') && (all())");
    }
}
