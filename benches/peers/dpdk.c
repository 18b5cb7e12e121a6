/*
 * Times DPDK's rte_fib, rte_fib6 and rte_acl for the benches: one structure in one process, built once and asked in rounds,
 * so that the caller can take turns with it.
 *
 *   dpdk-peer fib|fib6 TABLE    builds from the table, prints one line of JSON about that, then takes a line
 *   dpdk-peer acl TABLE         "VARIANT KEYS ANSWERS PASSES" at a time from standard input: looks every key of the file
 *                               up in bulks of 32, writes the answers of the last pass unless ANSWERS is "-", and
 *                               prints the CPU time of each lookup as JSON.
 *
 * VARIANT is "scalar" or "vector". Files are arrays of the structs below in the machine's byte order. Needs no privileges:
 * no huge page mounts, no devices, nothing shared with other processes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <rte_acl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_version.h>

#define BULK 32
#define HUGE ((size_t)2 << 20)

/* A route; without one the answer is 0. */
struct route4 { uint32_t address, length, answer; };
struct route6 { uint8_t address[16]; uint32_t length, answer; };

/* A rule; the first in the file wins, its answer is its position from 1, and without one it is 0. */
struct rule {
    uint32_t source, source_length, destination, destination_length;
    uint16_t source_ports[2], destination_ports[2];
    uint32_t protocol, protocol_mask;
};

/* What rte_acl reads, in network byte order; fields must lie in groups of four bytes after the first. */
struct packet {
    uint8_t protocol, pad[3];
    uint32_t source, destination;
    uint16_t source_port, destination_port;
};

/* The structure under test. */
static struct rte_fib *fib;
static struct rte_fib6 *fib6;
static struct rte_acl_ctx *acl;
/* Where it lies. */
static int heap;

static void fail(const char *what)
{
    fprintf(stderr, "dpdk-peer: %s: %s\n", what, rte_strerror(rte_errno ? rte_errno : errno));
    exit(1);
}

static void *read_file(const char *path, size_t record, size_t *count)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    fseek(file, 0, SEEK_END);
    size_t size = ftell(file);
    rewind(file);
    void *data = aligned_alloc(64, (size + 63) / 64 * 64 + 64);
    if (!data || fread(data, 1, size, file) != size) fail(path);
    fclose(file);
    *count = size / record;
    return data;
}

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

static size_t heap_bytes(void)
{
    struct rte_malloc_socket_stats stats;
    return rte_malloc_get_socket_stats(heap, &stats) ? 0 : stats.heap_allocsz_bytes;
}

/* A heap on transparent huge pages, as a deployment would have, without the privileges that mounted ones need. */
static int huge_heap(size_t bytes)
{
    uint8_t *memory = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("memory");
    memory += HUGE - (uintptr_t)memory % HUGE;
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    if (rte_malloc_heap_create("huge") || rte_malloc_heap_memory_add("huge", memory, bytes, NULL, bytes / HUGE, HUGE))
        fail("a heap");
    return rte_malloc_heap_get_socket("huge");
}

static size_t huge_bytes(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    size_t sum = 0, kb;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "AnonHugePages: %zu", &kb) == 1)
            sum += kb * 1024;
    if (file) fclose(file);
    return sum;
}

static void build_fib(const char *path, uint32_t nodes)
{
    size_t count;
    struct route4 *routes = read_file(path, sizeof *routes, &count);
    struct rte_fib_conf conf = {
        .type = RTE_FIB_DIR24_8,
        .default_nh = 0,
        .max_routes = count + 16,
        .dir24_8 = { .nh_sz = RTE_FIB_DIR24_8_4B, .num_tbl8 = nodes },
    };
    fib = rte_fib_create("fib", heap, &conf);
    if (!fib) fail("rte_fib_create");
    for (size_t i = 0; i < count; i++)
        if (rte_fib_add(fib, routes[i].address, routes[i].length, routes[i].answer)) fail("rte_fib_add");
    free(routes);
}

static int fill_fib6(const struct route6 *routes, size_t count, uint32_t nodes)
{
    struct rte_fib6_conf conf = {
        .type = RTE_FIB6_TRIE,
        .default_nh = 0,
        .max_routes = count * 2 + 16,
        .trie = { .nh_sz = RTE_FIB6_TRIE_4B, .num_tbl8 = nodes },
    };
    fib6 = rte_fib6_create("fib6", heap, &conf);
    if (!fib6) fail("rte_fib6_create");
    for (size_t i = 0; i < count; i++) {
        int error = rte_fib6_add(fib6, routes[i].address, routes[i].length, routes[i].answer);
        if (error == -ENOSPC) return 0;
        if (error) { rte_errno = -error; fail("rte_fib6_add"); }
    }
    return 1;
}

static uint32_t build_fib6(const char *path, uint32_t nodes)
{
    size_t count;
    struct route6 *routes = read_file(path, sizeof *routes, &count);
    /* How many nodes a table takes shows when it is filled. */
    while (!fill_fib6(routes, count, nodes)) {
        rte_fib6_free(fib6);
        nodes *= 2;
    }
    free(routes);
    return nodes;
}

enum { PROTOCOL, SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, FIELDS };
RTE_ACL_RULE_DEF(acl_rule, FIELDS);

#define FIELD(kind, bytes, at, group, member) \
    { .type = RTE_ACL_FIELD_TYPE_##kind, .size = bytes, .field_index = at, .input_index = group, \
      .offset = offsetof(struct packet, member) }

static void build_acl(const char *path)
{
    size_t count;
    struct rule *rules = read_file(path, sizeof *rules, &count);
    struct rte_acl_param param = {
        .name = "acl", .socket_id = heap, .rule_size = RTE_ACL_RULE_SZ(FIELDS), .max_rule_num = count,
    };
    struct rte_acl_config config = {
        .num_categories = 1,
        .num_fields = FIELDS,
        .defs = {
            FIELD(BITMASK, 1, PROTOCOL, 0, protocol),
            FIELD(MASK, 4, SOURCE, 1, source),
            FIELD(MASK, 4, DESTINATION, 2, destination),
            FIELD(RANGE, 2, SOURCE_PORT, 3, source_port),
            FIELD(RANGE, 2, DESTINATION_PORT, 3, destination_port),
        },
    };
    acl = rte_acl_create(&param);
    if (!acl) fail("rte_acl_create");
    for (size_t i = 0; i < count; i++) {
        const struct rule *rule = &rules[i];
        struct acl_rule one;
        memset(&one, 0, sizeof one);
        one.data.category_mask = 1;
        one.data.priority = RTE_ACL_MAX_PRIORITY - (int)i;
        one.data.userdata = i + 1;
        one.field[PROTOCOL].value.u8 = rule->protocol;
        one.field[PROTOCOL].mask_range.u8 = rule->protocol_mask;
        one.field[SOURCE].value.u32 = rule->source;
        one.field[SOURCE].mask_range.u32 = rule->source_length;
        one.field[DESTINATION].value.u32 = rule->destination;
        one.field[DESTINATION].mask_range.u32 = rule->destination_length;
        one.field[SOURCE_PORT].value.u16 = rule->source_ports[0];
        one.field[SOURCE_PORT].mask_range.u16 = rule->source_ports[1];
        one.field[DESTINATION_PORT].value.u16 = rule->destination_ports[0];
        one.field[DESTINATION_PORT].mask_range.u16 = rule->destination_ports[1];
        if (rte_acl_add_rules(acl, (struct rte_acl_rule *)&one, 1)) fail("rte_acl_add_rules");
    }
    int error = rte_acl_build(acl, &config);
    if (error) { rte_errno = -error; fail("rte_acl_build"); }
    free(rules);
}

static int select_variant(int vector)
{
    if (fib)
        return rte_fib_select_lookup(
            fib, vector ? RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512 : RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO);
    if (fib6)
        return rte_fib6_select_lookup(
            fib6, vector ? RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512 : RTE_FIB6_LOOKUP_TRIE_SCALAR);
    if (!vector)
        return rte_acl_set_ctx_classify(acl, RTE_ACL_CLASSIFY_SCALAR);
    if (rte_acl_set_ctx_classify(acl, RTE_ACL_CLASSIFY_AVX512X32) == 0)
        return 0;
    return rte_acl_set_ctx_classify(acl, RTE_ACL_CLASSIFY_AVX2);
}

static void pass(const uint8_t *keys, size_t count, uint32_t *answers)
{
    uint64_t hops[BULK];
    const uint8_t *packets[BULK];
    for (size_t at = 0; at + BULK <= count; at += BULK) {
        if (acl) {
            for (size_t i = 0; i < BULK; i++)
                packets[i] = keys + (at + i) * sizeof(struct packet);
            rte_acl_classify(acl, packets, answers + at, BULK, 1);
            continue;
        }
        if (fib)
            rte_fib_lookup_bulk(fib, (uint32_t *)(uintptr_t)keys + at, hops, BULK);
        else
            rte_fib6_lookup_bulk(fib6, (uint8_t (*)[16])(uintptr_t)keys + at, hops, BULK);
        for (size_t i = 0; i < BULK; i++)
            answers[at + i] = hops[i];
    }
}

static void answer_requests(size_t record)
{
    char variant[16], keys_path[4096], answers_path[4096];
    unsigned passes;
    while (scanf("%15s %4095s %4095s %u", variant, keys_path, answers_path, &passes) == 4) {
        size_t count;
        if (select_variant(strcmp(variant, "vector") == 0)) {
            printf("{\"unavailable\": \"%s\"}\n", variant);
            fflush(stdout);
            continue;
        }
        uint8_t *keys = read_file(keys_path, record, &count);
        uint32_t *answers = calloc(count, sizeof *answers);
        if (!answers) fail("answers");
        pass(keys, count, answers);
        double started = cpu_ns();
        for (unsigned i = 0; i < passes; i++)
            pass(keys, count, answers);
        double ns = (cpu_ns() - started) / passes / count;
        if (strcmp(answers_path, "-") != 0) {
            FILE *file = fopen(answers_path, "wb");
            if (!file || fwrite(answers, sizeof *answers, count, file) != count || fclose(file)) fail(answers_path);
        }
        printf("{\"ns\": %.3f}\n", ns);
        fflush(stdout);
        free(keys);
        free(answers);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: dpdk-peer fib|fib6|acl TABLE [NODES]\n");
        return 2;
    }
    uint32_t nodes = argc > 3 ? strtoul(argv[3], NULL, 10) : 1 << 16;
    /* On whatever processor: the caller takes turns with us. */
    char lcores[64];
    snprintf(lcores, sizeof lcores, "--lcores=0@(0-%ld)", sysconf(_SC_NPROCESSORS_ONLN) - 1);
    char *eal[] = {
        argv[0], "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "--log-level=critical",
        "--force-max-simd-bitwidth=512", lcores, "-m", "64", NULL,
    };
    if (rte_eal_init(sizeof eal / sizeof *eal - 1, eal) < 0) fail("rte_eal_init");
    heap = huge_heap((size_t)2 << 30);

    size_t record;
    double started = cpu_ns();
    if (strcmp(argv[1], "fib") == 0) {
        build_fib(argv[2], nodes);
        record = sizeof(uint32_t);
    } else if (strcmp(argv[1], "fib6") == 0) {
        nodes = build_fib6(argv[2], nodes);
        record = 16;
    } else {
        build_acl(argv[2]);
        record = sizeof(struct packet);
    }
    double seconds = (cpu_ns() - started) / 1e9;
    printf("{\"version\": \"%s\", \"build_s\": %.3f, \"heap_bytes\": %zu, \"nodes\": %u, \"huge_bytes\": %zu}\n",
           rte_version(), seconds, heap_bytes(), nodes, huge_bytes());
    fflush(stdout);
    answer_requests(record);
    return 0;
}
