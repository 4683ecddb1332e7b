/* SPDX-License-Identifier: GPL-2.0-only */
/* A list with a head of one pointer: just what the units under test use. */
#ifndef _SHIM_LINUX_LIST_H
#define _SHIM_LINUX_LIST_H

#include <linux/kernel.h>

struct hlist_node {
	struct hlist_node *next, **link;
};

struct hlist_head {
	struct hlist_node *first;
};

#define hlist_entry(ptr, type, member)	container_of(ptr, type, member)
#define hlist_entry_safe(ptr, type, member) \
	((ptr) ? hlist_entry(ptr, type, member) : NULL)

static inline void shim_hlist_link(struct hlist_node *new,
				   struct hlist_node **link)
{
	new->next = *link;
	new->link = link;
	if (new->next)
		new->next->link = &new->next;
	*link = new;
}

static inline void hlist_add_head(struct hlist_node *new,
				  struct hlist_head *head)
{
	shim_hlist_link(new, &head->first);
}

static inline void hlist_add_behind(struct hlist_node *new,
				    struct hlist_node *prev)
{
	shim_hlist_link(new, &prev->next);
}

static inline void hlist_del(struct hlist_node *node)
{
	*node->link = node->next;
	if (node->next)
		node->next->link = node->link;
}

#endif
