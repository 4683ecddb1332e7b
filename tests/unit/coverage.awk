# SPDX-License-Identifier: GPL-2.0-only
# What gcov -b says of the files of the store, and whether it is enough.
#
# usage: awk -v least=98 -f coverage.awk        exit code 1: it is not

/^File/ {
	name = $2
	gsub(/.*\/|'/, "", name)
	wanted = name ~ /^pin_[a-z]*\.[ch]$/ && !(name ~ /_unit/)
}

/^(Lines executed|Taken at least once):/ && wanted {
	split($0, part, /[:%]/)
	kind = /^Lines/ ? "lines" : "branches"
	done[kind] += part[2] / 100 * $NF
	all[kind] += $NF
	printf "# %s: %s%% of %d %s\n", name, part[2], $NF, kind
}

END {
	for (kind in all) {
		share = 100 * done[kind] / all[kind]
		printf "%s: %.2f %% of %d, at least %d %%\n", kind, share, all[kind], least
		missed += share < least
	}
	exit missed || !all["lines"] || !all["branches"]
}
