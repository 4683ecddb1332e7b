# SPDX-License-Identifier: GPL-2.0-only
# Reads the kernel's log and prints dmatest's errors: nothing if all is well, "running" if
# it has not ended.
#
# -v threads=N: threads that must end; -v want=N: transfers of each, 0 for any number.

!/dmatest: / {
	next
}

/: summary / {
	sub(/.*summary /, "")
	ended++
	if ((!want || $1 == want) && $3 == 0)
		next
	bad++
	if (!first)
		first = $0
	next
}

!/Added|Started|No channels configured/ && !first {
	sub(/.*dmatest: /, "")
	first = $0
}

END {
	if (ended < threads)
		print "running"
	else if (bad || first)
		print bad + 0 " of " threads " channels: " first
}
