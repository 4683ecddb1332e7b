# SPDX-License-Identifier: GPL-2.0-only
# The backend's data structures in user space, unmodified, under ASan and UBSan,
# with the kernel's own red-black tree.
#
#   make -C tools/testing/vfio check [SEED=n] [OPS=n]      in a kernel's tree

KERNEL_SRC ?= ../../..
BACKEND ?= $(KERNEL_SRC)/drivers/vfio
OUT ?= .

CFLAGS := -O1 -g -std=gnu11 -Wall -Wextra -Werror -I. \
	-fsanitize=address,undefined -fno-sanitize-recover=all $(EXTRA_CFLAGS)
BACKEND_FLAGS := -Ishim -I$(BACKEND)
RBTREE := $(KERNEL_SRC)/tools/lib/rbtree.c
RBTREE_FLAGS := $(BACKEND_FLAGS) -idirafter $(KERNEL_SRC)/tools/include

BACKEND_TESTS := pin_store_test pin_store_model_test dirty_report_test \
	page_row_test type1_compat_test type1_container_test type1_report_test \
	type1_unmap_test type1_pin_test type1_model_test
TESTS := $(BACKEND_TESTS)
PROGRAMS = $(TESTS:%=$(OUT)/%)

all: $(PROGRAMS)

# All programs are run; one that fails does not hide the others.
check: all
	@status=0; for program in $(PROGRAMS); do $$program || status=1; done; exit $$status

# An object for each file: after a change, only what depends on it is compiled again.
COMPILE = $(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
LINK = $(CC) $(CFLAGS) -o $@ $^

$(OUT)/rbtree.o: $(RBTREE)
	$(COMPILE) $(RBTREE_FLAGS) -Wno-unused-parameter

$(OUT)/shim.o: shim/shim.c
	$(COMPILE) $(BACKEND_FLAGS)

$(OUT)/backend_%.o: $(BACKEND)/%.c
	$(COMPILE) $(RBTREE_FLAGS)

$(BACKEND_TESTS:%=$(OUT)/%.o): $(OUT)/%.o: %.c
	$(COMPILE) $(RBTREE_FLAGS)

STORE_NAMES := store dirty tree leaf plane
STORE := $(STORE_NAMES:%=$(OUT)/backend_pin_%.o) \
	$(OUT)/rbtree.o $(OUT)/shim.o
REPORT := $(OUT)/backend_dirty_report.o

$(OUT)/pin_store_test $(OUT)/pin_store_model_test: $(OUT)/%: $(OUT)/%.o $(STORE)
	$(LINK)

$(OUT)/dirty_report_test: $(OUT)/%: $(OUT)/%.o $(REPORT) $(OUT)/shim.o
	$(LINK)

SMALL_TESTS := page_row_test type1_compat_test type1_container_test

$(SMALL_TESTS:%=$(OUT)/%): $(OUT)/%: $(OUT)/%.o $(OUT)/shim.o
	$(LINK)

# These include files of type1, as type1.c does.
TYPE1_TESTS := type1_report_test type1_unmap_test type1_pin_test \
	type1_model_test

$(TYPE1_TESTS:%=$(OUT)/%): $(OUT)/%: $(OUT)/%.o $(REPORT) $(STORE)
	$(LINK)

# How much of the store its tests execute: lines and branches, in percent at least.
COVERAGE_LEAST := 98
COVERED_FLAGS := -O0 -g -std=gnu11 -I. $(RBTREE_FLAGS) --coverage
COVERAGE := $(OUT)/coverage

coverage: $(OUT)/rbtree.o
	rm -rf $(COVERAGE) && mkdir -p $(COVERAGE)
	for name in $(STORE_NAMES); do \
		$(CC) $(COVERED_FLAGS) -c $(BACKEND)/pin_$$name.c -o $(COVERAGE)/pin_$$name.o || exit 1; \
	done
	for test in pin_store_test pin_store_model_test; do \
		$(CC) $(COVERED_FLAGS) -fno-profile-arcs -fno-test-coverage -fsanitize=address,undefined \
			-o $(COVERAGE)/$$test $$test.c $(COVERAGE)/pin_*.o $(OUT)/rbtree.o shim/shim.c && \
		$(COVERAGE)/$$test || exit 1; \
	done
	gcov -b -n $(COVERAGE)/pin_*.gcda | awk -v least=$(COVERAGE_LEAST) -f coverage.awk

clean:
	rm -rf $(PROGRAMS) $(OUT)/*.o $(OUT)/*.d $(COVERAGE)

.PHONY: all check coverage clean

-include $(wildcard $(OUT)/*.d)
