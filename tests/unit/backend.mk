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
SHIM := shim/shim.c $(wildcard shim/linux/*.h) unit.h

TESTS := pin_store_test pin_store_model_test dirty_report_test page_row_test \
	type1_report_test type1_unmap_test
PROGRAMS = $(TESTS:%=$(OUT)/%)

all: $(PROGRAMS)

# All programs are run; one that fails does not hide the others.
check: all
	@status=0; for program in $(PROGRAMS); do $$program || status=1; done; exit $$status

$(OUT)/rbtree.o: $(RBTREE)
	$(CC) $(CFLAGS) $(RBTREE_FLAGS) -Wno-unused-parameter -c -o $@ $<

STORE := $(addprefix $(BACKEND)/pin_,store.c dirty.c tree.c leaf.c plane.c \
	store.h tree.h leaf.h plane.h)

STORE_TESTS := $(OUT)/pin_store_test $(OUT)/pin_store_model_test

$(STORE_TESTS): $(OUT)/%: %.c pin_store_unit.h $(STORE) $(OUT)/rbtree.o $(SHIM)
	$(CC) $(CFLAGS) $(RBTREE_FLAGS) -o $@ $(filter-out %.h,$^)

$(OUT)/dirty_report_test: dirty_report_test.c $(BACKEND)/dirty_report.c $(BACKEND)/dirty_report.h $(SHIM)
	$(CC) $(CFLAGS) $(BACKEND_FLAGS) -o $@ $(filter-out %.h,$^)

$(OUT)/page_row_test: page_row_test.c $(BACKEND)/page_row.h $(SHIM)
	$(CC) $(CFLAGS) $(BACKEND_FLAGS) -o $@ $(filter-out %.h,$^)

# Included by the tests, as they are by type1.c.
TYPE1 := $(BACKEND)/type1_dma.c $(BACKEND)/type1_report.c \
	$(BACKEND)/type1_unmap.c
TYPE1_TESTS := $(OUT)/type1_report_test $(OUT)/type1_unmap_test

$(TYPE1_TESTS): $(OUT)/%: %.c type1_mock.h $(TYPE1) $(BACKEND)/dirty_report.c \
		$(BACKEND)/dirty_report.h $(STORE) $(OUT)/rbtree.o $(SHIM)
	$(CC) $(CFLAGS) $(RBTREE_FLAGS) -o $@ $(filter-out %.h $(TYPE1),$^)

# How much of the store its tests execute: lines and branches, in percent at least.
COVERAGE_LEAST := 98
COVERED_FLAGS := -O0 -g -std=gnu11 -I. $(RBTREE_FLAGS) --coverage

coverage: $(OUT)/rbtree.o
	rm -rf $(OUT)/coverage && mkdir -p $(OUT)/coverage
	for file in $(filter %.c,$(STORE)); do \
		$(CC) $(COVERED_FLAGS) -c $$file -o $(OUT)/coverage/$$(basename $$file .c).o || exit 1; \
	done
	for test in $(notdir $(STORE_TESTS)); do \
		$(CC) $(COVERED_FLAGS) -fno-profile-arcs -fno-test-coverage -fsanitize=address,undefined \
			-o $(OUT)/coverage/$$test $$test.c $(OUT)/coverage/pin_*.o $(OUT)/rbtree.o shim/shim.c && \
		$(OUT)/coverage/$$test || exit 1; \
	done
	gcov -b -n $(OUT)/coverage/pin_*.gcda | awk -v least=$(COVERAGE_LEAST) -f coverage.awk

clean:
	rm -rf $(PROGRAMS) $(OUT)/rbtree.o $(OUT)/coverage

.PHONY: all check coverage clean
