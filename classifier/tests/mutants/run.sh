#!/bin/bash
# Proves that the differential test sees faults: puts each fault of this folder into a copy of the tree, one at a time,
# and fails when the test still passes, when a fault no longer applies or no longer compiles.
#
#   classifier/tests/mutants/run.sh [NAME...]     all faults, or those named
#
# Nothing in the working tree changes; the copy and its build live in target/mutants.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work="$root/target/mutants"
tree="$work/tree"
log="$work/log"
export CARGO_TARGET_DIR="$work/build"
export RAVELIN_SEED="${RAVELIN_SEED:-1}"

fresh_tree() {
    rm -rf "$tree"
    mkdir -p "$tree"
    # New times on purpose: cargo must not take the last mutant's build for this tree's.
    (cd "$root" && git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do
            if [ -e "$file" ]; then printf '%s\0' "$file"; fi
        done | xargs -0 cp --parents -t "$tree")
}

build() { (cd "$tree" && cargo test --quiet --locked -p classifier --test differential --no-run) >"$log" 2>&1; }
# Faults in following changes, live-*, are for the test of changes to find, all others for the test of compiled policy.
differential() {
    local claim=compiled_policy
    case "$1" in live-*) claim=changed_policy ;; esac
    (cd "$tree" && cargo test --quiet --locked -p classifier --test differential "$claim") >"$log" 2>&1
}

fail() {
    tail -40 "$log" 2>/dev/null || true
    echo "FAILED: $1" >&2
    exit 1
}

if [ $# -gt 0 ]; then
    names=("$@")
else
    names=()
    for patch in "$here"/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi

mkdir -p "$work"
fresh_tree
build || fail "the tree without a fault does not compile"
differential compiled || fail "the tree without a fault does not pass"
differential live- || fail "the tree without a fault does not follow changes"
echo "without a fault: passes"

survivors=0
for name in "${names[@]}"; do
    fresh_tree
    (cd "$tree" && GIT_CEILING_DIRECTORIES="$work" git apply "$here/$name.patch") >"$log" 2>&1 ||
        fail "$name no longer applies"
    build || fail "$name does not compile"
    if differential "$name"; then
        echo "$name: SURVIVED"
        survivors=$((survivors + 1))
    elif grep -q "^reference: \|^change [0-9]* of set" "$log"; then
        echo "$name: caught, $(grep -o 'policy set [0-9]*\|change [0-9]* of set [0-9]*' "$log" | head -1)"
    else
        fail "$name made the test fail without a difference"
    fi
done
rm -rf "$tree"
[ "$survivors" -eq 0 ] || { echo "FAILED: $survivors faults survived" >&2; exit 1; }
echo "all ${#names[@]} faults caught"
