//! Everything that a selector can match, found without asking all of it.

use std::collections::HashMap;

use classifier::label::Labels;
use classifier::resource::PolicySet;
use classifier::selector::Expr;

/// For whom a selector is asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Audience {
    /// Interfaces of the gateway itself.
    Interfaces,
    /// What rules can name as a peer.
    Peers,
    /// What a policy can protect.
    Protected,
}

/// Something that has labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrier<'a> {
    pub(super) name: &'a str,
    pub(super) labels: &'a Labels,
    is_interface: bool,
    is_protected: bool,
}

impl Carrier<'_> {
    pub(super) fn is_in(&self, audience: Audience) -> bool {
        match audience {
            Audience::Interfaces => self.is_interface,
            Audience::Peers => !self.is_interface,
            Audience::Protected => self.is_protected,
        }
    }
}

/// Everything that has labels, by its labels.
#[derive(Debug, Default)]
pub(super) struct Carriers<'a> {
    all: Vec<Carrier<'a>>,
    by_name: HashMap<&'a str, Vec<usize>>,
    by_value: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Carriers<'a> {
    pub(super) fn of(set: &'a PolicySet) -> Self {
        let objects = set.objects.iter().map(|object| Carrier {
            name: &object.name,
            labels: &object.labels,
            is_interface: false,
            is_protected: !object.peer_only,
        });
        let interfaces = set.interfaces.iter().map(|own| Carrier {
            name: &own.name,
            labels: &own.labels,
            is_interface: true,
            is_protected: true,
        });
        let mut carriers = Self { all: objects.chain(interfaces).collect(), ..Self::default() };
        for (index, carrier) in carriers.all.iter().enumerate() {
            for (name, value) in carrier.labels {
                carriers.by_name.entry(name).or_default().push(index);
                carriers.by_value.entry((name, value)).or_default().push(index);
            }
        }
        carriers
    }

    /// Those that the expression may match: all that it does, and maybe others.
    pub(super) fn candidates(&self, expr: &Expr) -> Vec<&Carrier<'a>> {
        match self.indices(expr) {
            None => self.all.iter().collect(),
            Some(indices) => indices.into_iter().filter_map(|index| self.all.get(index)).collect(),
        }
    }

    /// Where they are; none if the labels do not tell.
    fn indices(&self, expr: &Expr) -> Option<Vec<usize>> {
        match expr {
            Expr::Equal(name, value) => Some(self.with_value(name, value)),
            Expr::In(name, values) => {
                Some(values.iter().flat_map(|value| self.with_value(name, value)).collect())
            }
            Expr::Has(name)
            | Expr::Contains(name, _)
            | Expr::StartsWith(name, _)
            | Expr::EndsWith(name, _) => {
                Some(self.by_name.get(name.as_str()).cloned().unwrap_or_default())
            }
            Expr::And(operands) => {
                operands.iter().filter_map(|operand| self.indices(operand)).min_by_key(Vec::len)
            }
            Expr::Or(operands) => {
                let each: Option<Vec<_>> =
                    operands.iter().map(|operand| self.indices(operand)).collect();
                Some(each?.concat())
            }
            Expr::All | Expr::Global | Expr::Not(_) | Expr::NotEqual(..) | Expr::NotIn(..) => None,
        }
    }

    fn with_value(&self, name: &str, value: &str) -> Vec<usize> {
        self.by_value.get(&(name, value)).cloned().unwrap_or_default()
    }
}
