// SPDX-License-Identifier: Apache-2.0
//
// Hands every frame of a receive queue to the AF_XDP socket of that queue, and nothing to the kernel.
//
// There is one copy of this program and of its map for each port. A queue without a socket, or with one that is gone,
// drops: the fall-back must never be XDP_PASS, or the kernel would see what nobody judged.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64); // the loader sets the port's number of receive queues
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

SEC("xdp")
int ravelin(struct xdp_md *ctx)
{
	return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP);
}

char _license[] SEC("license") = "Apache-2.0";
