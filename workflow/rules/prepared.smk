"""Which files of a clip no seed changes: those from before its sampler."""

from snakemake.io import strip_wildcard_constraints


def outputs(rule):
    return {strip_wildcard_constraints(path) for path in rule.output}


def after_the_sampler():
    """Return the rules that read, at last, what the sampler makes of a clip."""
    found = {"sample"}
    while True:
        made = set.union(*(outputs(workflow.get_rule(name)) for name in found))
        more = {rule.name for rule in workflow.rules if made & {*map(str, rule.input)}}
        if more <= found:
            return found
        found |= more


def prepared_files(rule):
    """Return what a rule makes of a clip and no seed changes; hidden files are no content."""
    names = {
        os.path.basename(path)
        for path in outputs(rule)
        if os.path.dirname(path) == CLIP
    }
    return {name for name in names if not name.startswith(".")}


CHANGED = after_the_sampler()
PREPARING = [r for r in workflow.rules if r.name not in CHANGED and prepared_files(r)]
PREPARED = sorted(set.union(*map(prepared_files, PREPARING)))
for preparing in PREPARING:
    workflow.ruleorder("seed_file", preparing.name)
