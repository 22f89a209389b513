// 8-bit attention for Hopper (sm_90a): int8 scores, e4m3 probabilities and values.
//
// Tensors of the model are bf16 (batch, token, head, 128). Rounded ones are one after the other for
// each (batch, head), here a "line": queries padded to QUERIES, keys and values padded to KEYS.
//   queries  int8, a scale for each token, in which the scores' factor and log2(e) are included
//   keys     int8 of the keys less their mean, a scale for SCALED tokens
//   values   e4m3 of the values less their mean, a scale for each channel
//   stats    fp32 (line, 3, 128): mean of the keys, mean of the values, scale of the values
// Rounded tensors lie in memory as the tensor cores read them, so that a tile is one copy.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

constexpr int SIZE = 128;           // channels of a head
constexpr int KEYS = 96;            // keys of a tile
constexpr int STAGES = 3;           // tiles of keys, and of values, in shared memory
constexpr int WORKERS = 3;          // groups of 128 threads that compute, each with 64 queries
constexpr int QUERIES = 64 * WORKERS;
constexpr int SCALED = 32;          // keys with one scale
constexpr int SCALES = KEYS / SCALED;
constexpr int SLAB = 32;            // keys of a piece of the values, 128 channels of which lie together
constexpr int CHUNK = 512;          // tokens whose sums one block gathers
constexpr int LOADER_REGISTERS = 32, WORKER_REGISTERS = 160;
constexpr float LARGEST = 448.f;    // of e4m3
constexpr float TOP = 8.807f;       // its logarithm to base 2: the most that a probability gets
constexpr float LOG2_E = 1.4426950408889634f;
// Added to a whole number below 2^22, as bits, it makes that number plus WHOLE as fp32.
constexpr int WHOLE_BITS = 0x4B400000;
constexpr float WHOLE = 12582912.f;

// Distances of a tensor's axes, in numbers.
struct Strides { i64 batch, token, head; };

__device__ __forceinline__ float widened(u32 pair, int high) {
  return __uint_as_float(high ? (pair & 0xffff0000u) : (pair << 16));
}
__device__ __forceinline__ u16 e4m3_pair(float low, float high) {
  u16 d;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(d) : "f"(high), "f"(low));
  return d;
}
__device__ __forceinline__ u32 e4m3_four(float a, float b, float c, float d) {
  u32 r;
  asm("{\n.reg .b16 x, y;\n"
      "cvt.rn.satfinite.e4m3x2.f32 x, %2, %1;\n"
      "cvt.rn.satfinite.e4m3x2.f32 y, %4, %3;\n"
      "mov.b32 %0, {x, y};\n}\n" : "=r"(r) : "f"(a), "f"(b), "f"(c), "f"(d));
  return r;
}
__device__ __forceinline__ u32 int8_four(float a, float b, float c, float d) {
  const int x = __float2int_rn(a), y = __float2int_rn(b), z = __float2int_rn(c), w = __float2int_rn(d);
  return (x & 255) | ((y & 255) << 8) | ((z & 255) << 16) | ((u32)w << 24);
}
// 2^x.
__device__ __forceinline__ float power(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// ------------------------------------------------------------------------------------- rounding

// A block has 256 threads: 16 groups of 8 channels by 16 tokens.
struct Place {
  int line, group, token;
  __device__ Place() : line(blockIdx.y), group(threadIdx.x & 15), token(threadIdx.x >> 4) {}
  __device__ const u16* of(const u16* x, Strides by, int heads) const {
    return x + (line / heads) * by.batch + (line % heads) * by.head + group * 8;
  }
};

__device__ __forceinline__ void read_eight(const u16* from, float (&x)[8]) {
  const uint4 four = *(const uint4*)from;
  const u32* pairs = (const u32*)&four;
  #pragma unroll
  for (int i = 0; i < 8; i++) x[i] = widened(pairs[i / 2], i & 1);
}

// Sums of keys and values and the range of the values, of a chunk of tokens:
// parts (line, chunk, 4, 128). Blocks: (chunks, lines).
extern "C" __global__ void __launch_bounds__(256) gather(
    const u16* __restrict__ k, const u16* __restrict__ v, float* __restrict__ parts,
    int length, int heads, Strides k_by, Strides v_by) {
  __shared__ float all[16][SIZE];
  const Place at;
  const u16 *k_at = at.of(k, k_by, heads), *v_at = at.of(v, v_by, heads);
  float found[4][8];
  #pragma unroll
  for (int i = 0; i < 8; i++) {
    found[0][i] = found[1][i] = 0.f;
    found[2][i] = -3e38f;
    found[3][i] = 3e38f;
  }
  const int stop = min(length, (int)(blockIdx.x + 1) * CHUNK);
  #pragma unroll 4
  for (int n = blockIdx.x * CHUNK + at.token; n < stop; n += 16) {
    float key[8], value[8];
    read_eight(k_at + n * k_by.token, key);
    read_eight(v_at + n * v_by.token, value);
    #pragma unroll
    for (int i = 0; i < 8; i++) {
      found[0][i] += key[i];
      found[1][i] += value[i];
      found[2][i] = fmaxf(found[2][i], value[i]);
      found[3][i] = fminf(found[3][i], value[i]);
    }
  }
  float* out = parts + ((i64)at.line * gridDim.x + blockIdx.x) * 4 * SIZE;
  #pragma unroll
  for (int j = 0; j < 4; j++) {
    #pragma unroll
    for (int i = 0; i < 8; i++) all[at.token][at.group * 8 + i] = found[j][i];
    __syncthreads();
    if (threadIdx.x < SIZE) {
      float joined = all[0][threadIdx.x];
      for (int i = 1; i < 16; i++) {
        const float x = all[i][threadIdx.x];
        joined = j < 2 ? joined + x : j == 2 ? fmaxf(joined, x) : fminf(joined, x);
      }
      out[j * SIZE + threadIdx.x] = joined;
    }
    __syncthreads();
  }
}

// The stats, of what was gathered. Blocks: lines, of 1024 threads: 128 channels by 8 chunks.
extern "C" __global__ void __launch_bounds__(1024) summarise(
    const float* __restrict__ parts, float* __restrict__ stats, int length, int chunks) {
  __shared__ float all[4][8][SIZE];
  const int channel = threadIdx.x & 127, first = threadIdx.x >> 7;
  const float* own = parts + (i64)blockIdx.x * chunks * 4 * SIZE + channel;
  float key = 0.f, value = 0.f, high = -3e38f, low = 3e38f;
  for (int i = first; i < chunks; i += 8) {
    const float* part = own + (i64)i * 4 * SIZE;
    key += part[0];
    value += part[SIZE];
    high = fmaxf(high, part[2 * SIZE]);
    low = fminf(low, part[3 * SIZE]);
  }
  all[0][first][channel] = key;
  all[1][first][channel] = value;
  all[2][first][channel] = high;
  all[3][first][channel] = low;
  __syncthreads();
  if (first) return;
  for (int i = 1; i < 8; i++) {
    key += all[0][i][channel];
    value += all[1][i][channel];
    high = fmaxf(high, all[2][i][channel]);
    low = fminf(low, all[3][i][channel]);
  }
  key /= length;
  value /= length;
  float* out = stats + blockIdx.x * 3 * SIZE + channel;
  out[0] = key;
  out[SIZE] = value;
  // Values that are all the same have a scale, too.
  out[2 * SIZE] = fmaxf(fmaxf(high - value, value - low), 1e-8f) / LARGEST;
}

// Write 8 channels of a token; pieces of 16 change places within 8 tokens, as the tensor cores' reads
// of 128 bytes are swizzled.
__device__ __forceinline__ void write_eight(u8* line, int token, int group, const float (&x)[8], float factor) {
  uint2 out;
  out.x = int8_four(x[0] * factor, x[1] * factor, x[2] * factor, x[3] * factor);
  out.y = int8_four(x[4] * factor, x[5] * factor, x[6] * factor, x[7] * factor);
  const int piece = (group >> 1) ^ (token & 7);
  *(uint2*)(line + (i64)token * SIZE + (piece << 4) + ((group & 1) << 3)) = out;
}

// Queries to int8, a scale each; tokens beyond `length` are zero. What the keys' mean would have added
// to a token's scores is `shift` (line, padded), in natural units. Blocks: (padded / 16, lines).
extern "C" __global__ void __launch_bounds__(256) round_queries(
    const u16* __restrict__ q, u8* __restrict__ rounded, float* __restrict__ scales, float* __restrict__ shift,
    const float* __restrict__ stats, int length, int padded, int heads, Strides by, float factor) {
  const Place at;
  const int token = blockIdx.x * 16 + at.token;
  float x[8] = {}, largest = 0.f, mean = 0.f;
  if (token < length) read_eight(at.of(q, by, heads) + token * by.token, x);
  const float* means = stats + at.line * 3 * SIZE + at.group * 8;
  #pragma unroll
  for (int i = 0; i < 8; i++) {
    largest = fmaxf(largest, fabsf(x[i]));
    mean = fmaf(x[i], means[i], mean);
  }
  #pragma unroll
  for (int other = 8; other; other >>= 1) {
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, other));
    mean += __shfl_xor_sync(~0u, mean, other);
  }
  write_eight(rounded + (i64)at.line * padded * SIZE, token, at.group, x, largest > 0.f ? 127.f / largest : 0.f);
  if (at.group == 0) {
    // What is no number in a query or in any key has no int8, and so shows in the scale.
    scales[(i64)at.line * padded + token] = largest * (1.f / 127.f) * factor * LOG2_E + (mean - mean);
    shift[(i64)at.line * padded + token] = mean * factor;
  }
}

// Keys less their mean to int8, SCALED of them with one scale; those beyond `length` are zero.
// Blocks: (padded / SCALED, lines).
extern "C" __global__ void __launch_bounds__(256) round_keys(
    const u16* __restrict__ k, u8* __restrict__ rounded, float* __restrict__ scales,
    const float* __restrict__ stats, int length, int padded, int heads, Strides by) {
  constexpr int ROUNDS = SCALED / 16;
  __shared__ float all[8];
  const Place at;
  const float* means = stats + at.line * 3 * SIZE + at.group * 8;
  float x[ROUNDS][8], largest = 0.f;
  #pragma unroll
  for (int r = 0; r < ROUNDS; r++) {
    const int token = blockIdx.x * SCALED + r * 16 + at.token;
    const bool real = token < length;
    if (real) read_eight(at.of(k, by, heads) + token * by.token, x[r]);
    #pragma unroll
    for (int i = 0; i < 8; i++) {
      x[r][i] = real ? x[r][i] - means[i] : 0.f;
      largest = fmaxf(largest, fabsf(x[r][i]));
    }
  }
  #pragma unroll
  for (int other = 16; other; other >>= 1) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, other));
  if ((threadIdx.x & 31) == 0) all[threadIdx.x >> 5] = largest;
  __syncthreads();
  #pragma unroll
  for (int i = 0; i < 8; i++) largest = fmaxf(largest, all[i]);
  #pragma unroll
  for (int r = 0; r < ROUNDS; r++) {
    const int token = blockIdx.x * SCALED + r * 16 + at.token;
    write_eight(rounded + (i64)at.line * padded * SIZE, token, at.group, x[r], largest > 0.f ? 127.f / largest : 0.f);
  }
  if (threadIdx.x == 0) scales[(i64)at.line * gridDim.x + blockIdx.x] = largest * (1.f / 127.f);
}

// Values less their mean to e4m3, in slabs of 128 channels by SLAB keys, whose two pieces change places
// in every other four channels, as reads of 32 bytes are swizzled. Within 16 keys the order is that in
// which a thread holds their scores: key n is at 4 * (n % 8 / 2) + 2 * (n / 8) + n % 2.
// Blocks: (padded / SLAB, lines).
extern "C" __global__ void __launch_bounds__(256) round_values(
    const u16* __restrict__ v, u8* __restrict__ rounded, const float* __restrict__ stats,
    int length, int padded, int heads, Strides by) {
  // A channel's keys, and four bytes so that threads meet in no bank.
  constexpr int ROW = SLAB + 4;
  __shared__ u32 words[SIZE * ROW / 4];
  u8* bytes = (u8*)words;
  const Place at;
  const float* means = stats + at.line * 3 * SIZE + SIZE + at.group * 8;
  float up[8];
  #pragma unroll
  for (int i = 0; i < 8; i++) up[i] = 1.f / means[SIZE + i];
  #pragma unroll
  for (int r = 0; r < SLAB / 16; r++) {
    const int token = blockIdx.x * SLAB + r * 16 + at.token;
    const int key = r * 16 + 4 * ((at.token & 7) >> 1) + 2 * (at.token >> 3) + (at.token & 1);
    const bool real = token < length;
    float x[8] = {};
    if (real) read_eight(at.of(v, by, heads) + token * by.token, x);
    #pragma unroll
    for (int i = 0; i < 8; i++) x[i] = real ? (x[i] - means[i]) * up[i] : 0.f;
    #pragma unroll
    for (int i = 0; i < 8; i += 2) {
      const u16 pair = e4m3_pair(x[i], x[i + 1]);
      bytes[(at.group * 8 + i) * ROW + key] = pair & 255;
      bytes[(at.group * 8 + i + 1) * ROW + key] = pair >> 8;
    }
  }
  __syncthreads();
  const int channel = threadIdx.x >> 1, half = threadIdx.x & 1;
  const u32* from = words + channel * (ROW / 4) + half * 4;
  const uint4 out = make_uint4(from[0], from[1], from[2], from[3]);
  u8* slab = rounded + (i64)at.line * padded * SIZE + (i64)blockIdx.x * SLAB * SIZE;
  *(uint4*)(slab + channel * SLAB + ((half ^ ((channel >> 2) & 1)) << 4)) = out;
}

// ------------------------------------------------------------- barriers, copies and tensor cores

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void barrier_init(u32 barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(count));
}
__device__ __forceinline__ void barrier_arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(barrier) : "memory");
}
__device__ __forceinline__ void barrier_wait(u32 barrier, u32 parity) {
  u32 done = 0;
  while (!done) {
    asm volatile("{\n.reg .pred p;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n}\n" : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
  }
}
// Copy into shared memory, and have the barrier wait for all of it.
__device__ __forceinline__ void load(u32 to, const void* from, int bytes, u32 barrier) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(barrier), "r"(bytes) : "memory");
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
               :: "r"(to), "l"(from), "r"(bytes), "r"(barrier) : "memory");
}
__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT> __device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(LEFT) : "memory");
}
// The tensor cores read and write registers while the compiler knows nothing of it: hold them.
template <int N> __device__ __forceinline__ void hold(int (&x)[N]) {
  #pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+r"(x[i]) :: "memory");
}
template <int N> __device__ __forceinline__ void hold(u32 (&x)[N]) {
  #pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+r"(x[i]) :: "memory");
}
template <int N> __device__ __forceinline__ void hold(float (&x)[N]) {
  #pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(x[i]) :: "memory");
}
// The groups that compute take turns in giving work to the tensor cores.
__device__ __forceinline__ void turn_take(int worker) {
  asm volatile("bar.sync %0, 256;" :: "r"(1 + worker) : "memory");
}
__device__ __forceinline__ void turn_give(int worker) {
  asm volatile("bar.arrive %0, 256;" :: "r"(1 + worker) : "memory");
}
// How the tensor cores find an operand of rows of `width` bytes in shared memory, swizzled over 8 rows.
__device__ __forceinline__ u64 descriptor(u32 address, int width) {
  const u64 kind = width == 128 ? 1 : 3;
  return (u64)((address & 0x3ffff) >> 4) | ((u64)1 << 16) | ((u64)((8 * width) >> 4) << 32) | (kind << 62);
}

#define EIGHT(kind, x, i) kind(x[i]), kind(x[i + 1]), kind(x[i + 2]), kind(x[i + 3]), \
  kind(x[i + 4]), kind(x[i + 5]), kind(x[i + 6]), kind(x[i + 7])

// 64 queries by KEYS keys, 32 channels of them: scores, added to if MORE.
template <bool MORE> __device__ __forceinline__ void multiply_scores(int (&s)[KEYS / 2], u64 q, u64 k) {
  static_assert(KEYS == 96, "the instruction is written for 96 keys");
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %50, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n96k32.s32.s8.s8 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47}, "
      "%48, %49, p;\n}\n"
      : EIGHT("+r", s, 0), EIGHT("+r", s, 8), EIGHT("+r", s, 16), EIGHT("+r", s, 24), EIGHT("+r", s, 32),
        EIGHT("+r", s, 40)
      : "l"(q), "l"(k), "n"(MORE ? 1 : 0));
}
// 64 queries' probabilities of 32 keys by their values, added to `o`.
__device__ __forceinline__ void multiply_values(float (&o)[64], const u32* p, u64 v) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, %68, p, 1, 1;\n}\n"
      : EIGHT("+f", o, 0), EIGHT("+f", o, 8), EIGHT("+f", o, 16), EIGHT("+f", o, 24), EIGHT("+f", o, 32),
        EIGHT("+f", o, 40), EIGHT("+f", o, 48), EIGHT("+f", o, 56)
      : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(v));
}

// ------------------------------------------------------------------------------------- attention

// A thread has two rows of scores, 8 apart: of 8 keys, the pair that begins with `column` of each. So
// s[4 * i] and s[4 * i + 1] are of the first row, the next two of the second. For each row: the
// largest score so far and the sum of the probabilities, in base 2.
struct Rows { float largest[2], sum[2]; };

__device__ __forceinline__ void score_tile(int (&s)[KEYS / 2], u64 q, u64 k) {
  // Descriptors count 16 bytes.
  multiply_scores<false>(s, q, k);
  multiply_scores<true>(s, q + 2, k + 2);
  multiply_scores<true>(s, q + 4, k + 4);
  multiply_scores<true>(s, q + 6, k + 6);
}
__device__ __forceinline__ void value_tile(float (&o)[64], u32 (&p)[KEYS / 8], u64 v) {
  static_assert(SLAB == 32, "a product takes 32 keys");
  #pragma unroll
  for (int i = 0; i < KEYS / 32; i++) multiply_values(o, p + 4 * i, v + (u64)((i * SLAB * SIZE) >> 4));
}
__device__ __forceinline__ void read_scales(float (&scales)[SCALES], const float* from) {
  // No plain read: the compiler would move it to where it is used, and wait there.
  #pragma unroll
  for (int g = 0; g < SCALES; g++) asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(scales[g]) : "l"(from + g));
}

// Raise the rows' largest scores to those of a tile. Returns whether some row of the warp's was raised;
// then what was summed so far is to be multiplied by `lower`. In the first tile, of which `valid` keys
// are real, nothing was.
template <bool FIRST> __device__ __forceinline__ bool raise(
    int (&s)[KEYS / 2], const float (&scales)[SCALES], const float (&q)[2], Rows& rows, float (&lower)[2],
    int valid, int column) {
  constexpr int EIGHTS = SCALED / 8;
  float x0 = -3e38f, x1 = -3e38f;
  #pragma unroll
  for (int g = 0; g < SCALES; g++) {
    if (FIRST && g * SCALED >= valid) break;
    int i0, i1;
    if (FIRST) {
      i0 = i1 = -0x200000;
      #pragma unroll
      for (int w = 0; w < EIGHTS; w++) {
        const int j = (g * EIGHTS + w) * 4, key = (g * EIGHTS + w) * 8 + column;
        if (key < valid) { i0 = max(i0, s[j]); i1 = max(i1, s[j + 2]); }
        if (key + 1 < valid) { i0 = max(i0, s[j + 1]); i1 = max(i1, s[j + 3]); }
      }
    } else {
      const int j = g * EIGHTS * 4;
      i0 = max(s[j], s[j + 1]);
      i1 = max(s[j + 2], s[j + 3]);
      #pragma unroll
      for (int w = 1; w < EIGHTS; w++) {
        i0 = __vimax3_s32(i0, s[j + 4 * w], s[j + 4 * w + 1]);
        i1 = __vimax3_s32(i1, s[j + 4 * w + 2], s[j + 4 * w + 3]);
      }
    }
    x0 = fmaxf(x0, (float)i0 * scales[g]);
    x1 = fmaxf(x1, (float)i1 * scales[g]);
  }
  // Four threads share a row.
  x0 = fmaxf(x0, __shfl_xor_sync(~0u, x0, 1));
  x1 = fmaxf(x1, __shfl_xor_sync(~0u, x1, 1));
  x0 = fmaxf(x0, __shfl_xor_sync(~0u, x0, 2));
  x1 = fmaxf(x1, __shfl_xor_sync(~0u, x1, 2));
  x0 *= q[0];
  x1 *= q[1];
  if (FIRST) {
    rows.largest[0] = x0;
    rows.largest[1] = x1;
    return false;
  }
  const bool raised = __any_sync(~0u, x0 > rows.largest[0] || x1 > rows.largest[1]);
  if (raised) {
    const float n0 = fmaxf(rows.largest[0], x0), n1 = fmaxf(rows.largest[1], x1);
    lower[0] = power(rows.largest[0] - n0);
    lower[1] = power(rows.largest[1] - n1);
    rows.largest[0] = n0;
    rows.largest[1] = n1;
    rows.sum[0] *= lower[0];
    rows.sum[1] *= lower[1];
  }
  return raised;
}
__device__ __forceinline__ float probability(int score, float factor, float offset) {
  return power(fmaf(__int_as_float(score + WHOLE_BITS), factor, offset));
}
// Scores to probabilities, added to the sums and packed as e4m3 for the product with the values.
template <bool FIRST> __device__ __forceinline__ void weigh(
    int (&s)[KEYS / 2], u32 (&p)[KEYS / 8], const float (&scales)[SCALES], const float (&q)[2], Rows& rows,
    int valid, int column) {
  float t0 = 0.f, t1 = 0.f, t2 = 0.f, t3 = 0.f;
  const float top0 = TOP - rows.largest[0], top1 = TOP - rows.largest[1];
  #pragma unroll
  for (int g = 0; g < SCALES; g++) {
    const float c0 = q[0] * scales[g], c1 = q[1] * scales[g];
    const float b0 = fmaf(-WHOLE, c0, top0), b1 = fmaf(-WHOLE, c1, top1);
    #pragma unroll
    for (int k = 0; k < SCALED / 16; k++) {
      const int i = g * (SCALED / 16) + k, j = i * 8;
      float e0 = probability(s[j], c0, b0), e1 = probability(s[j + 1], c0, b0);
      float e2 = probability(s[j + 4], c0, b0), e3 = probability(s[j + 5], c0, b0);
      float f0 = probability(s[j + 2], c1, b1), f1 = probability(s[j + 3], c1, b1);
      float f2 = probability(s[j + 6], c1, b1), f3 = probability(s[j + 7], c1, b1);
      if (FIRST) {
        const int key = i * 16 + column;
        if (key >= valid) e0 = f0 = 0.f;
        if (key + 1 >= valid) e1 = f1 = 0.f;
        if (key + 8 >= valid) e2 = f2 = 0.f;
        if (key + 9 >= valid) e3 = f3 = 0.f;
      }
      t0 += e0; t1 += f0; t2 += e1; t3 += f1; t0 += e2; t1 += f2; t2 += e3; t3 += f3;
      p[(i >> 1) * 4 + (i & 1) * 2] = e4m3_four(e0, e1, e2, e3);
      p[(i >> 1) * 4 + (i & 1) * 2 + 1] = e4m3_four(f0, f1, f2, f3);
    }
  }
  rows.sum[0] += t0 + t2;
  rows.sum[1] += t1 + t3;
}

// Where things lie in shared memory, after an address that is a multiple of 1024.
struct Shared {
  u32 q, k, v, full_q, full_k, full_v, free_k, free_v;
  __device__ Shared(u32 base) : q(base), k(q + QUERIES * SIZE), v(k + STAGES * KEYS * SIZE) {
    full_q = v + STAGES * KEYS * SIZE;
    full_k = full_q + 8;
    full_v = full_k + 8 * STAGES;
    free_k = full_v + 8 * STAGES;
    free_v = free_k + 8 * STAGES;
  }
};
// The place of a tile in shared memory, and how often that was used, as its barriers count.
struct Stage {
  int at = 0, parity = 0;
  __device__ __forceinline__ void next() {
    if (++at == STAGES) { at = 0; parity ^= 1; }
  }
};

// Attention of QUERIES queries to all keys of their line, from the last tile, which may be ragged, to
// the first. One group of threads loads, the others compute: while a tile's scores are multiplied, and
// the values of the tile before, another group has its softmax.
// out (batch, token, head, 128) bf16; sums (line, token) fp32: the logarithm of the sum of a token's
// weights, in which the keys' mean counts again. Blocks: (padded_q / QUERIES, lines).
extern "C" __global__ void __launch_bounds__(128 + 128 * WORKERS, 1) attend(
    const u8* __restrict__ q8, const u8* __restrict__ k8, const u8* __restrict__ v8,
    const float* __restrict__ q_scales, const float* __restrict__ k_scales, const float* __restrict__ stats,
    const float* __restrict__ shift, u16* __restrict__ out, float* __restrict__ sums,
    int queries, int keys, int padded_q, int padded_k, int heads, Strides by) {
  extern __shared__ u8 raw[];
  const Shared at((shared_address(raw) + 1023) & ~1023u);
  const int line = blockIdx.y, tiles = (keys + KEYS - 1) / KEYS;
  const int group = __shfl_sync(~0u, threadIdx.x >> 7, 0);
  if (threadIdx.x == 0) {
    barrier_init(at.full_q, 1);
    for (int i = 0; i < STAGES; i++) {
      barrier_init(at.full_k + 8 * i, 1);
      barrier_init(at.full_v + 8 * i, 1);
      // One of each warp says that it has read a tile.
      barrier_init(at.free_k + 8 * i, 4 * WORKERS);
      barrier_init(at.free_v + 8 * i, 4 * WORKERS);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncthreads();
  if (group == 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(LOADER_REGISTERS));
    if (threadIdx.x == 0) {
      const u8 *k_line = k8 + (i64)line * padded_k * SIZE, *v_line = v8 + (i64)line * padded_k * SIZE;
      load(at.q, q8 + ((i64)line * padded_q + blockIdx.x * QUERIES) * SIZE, QUERIES * SIZE, at.full_q);
      Stage k, v;
      // Values follow one tile behind their keys.
      for (int i = 0; i <= tiles; i++) {
        if (i < tiles) {
          barrier_wait(at.free_k + 8 * k.at, k.parity ^ 1);
          const u8* from = k_line + (i64)(tiles - 1 - i) * KEYS * SIZE;
          load(at.k + k.at * KEYS * SIZE, from, KEYS * SIZE, at.full_k + 8 * k.at);
          k.next();
        }
        if (i > 0) {
          barrier_wait(at.free_v + 8 * v.at, v.parity ^ 1);
          const u8* from = v_line + (i64)(tiles - i) * KEYS * SIZE;
          load(at.v + v.at * KEYS * SIZE, from, KEYS * SIZE, at.full_v + 8 * v.at);
          v.next();
        }
      }
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(WORKER_REGISTERS));
  const int worker = group - 1, lane = threadIdx.x & 31, warp = (threadIdx.x >> 5) & 3, column = (lane & 3) * 2;
  const int row = blockIdx.x * QUERIES + worker * 64 + warp * 16 + (lane >> 2);
  const bool leads = lane == 0;
  const i64 first = (i64)line * padded_q + row;
  const float q[2] = {q_scales[first], q_scales[first + 8]};
  const float* scales_at = k_scales + (i64)line * (padded_k / SCALED) + (i64)(tiles - 1) * SCALES;
  const u64 q_operand = descriptor(at.q + worker * 64 * SIZE, SIZE);
  const u64 k_operand = descriptor(at.k, SIZE), v_operand = descriptor(at.v, SLAB);
  constexpr u64 TILE = (KEYS * SIZE) >> 4;
  int s[KEYS / 2];
  u32 p[KEYS / 8];
  float o[64], scales[SCALES], lower[2] = {1.f, 1.f};
  Rows rows;
  rows.sum[0] = rows.sum[1] = 0.f;
  Stage k, v;

  // The first tile's scores and probabilities.
  if (worker == WORKERS - 1) turn_give(0);
  read_scales(scales, scales_at);
  barrier_wait(at.full_q, 0);
  barrier_wait(at.full_k, 0);
  hold(s);
  products_begin();
  score_tile(s, q_operand, k_operand);
  products_commit();
  products_wait<0>();
  hold(s);
  if (leads) barrier_arrive(at.free_k);
  k.next();
  const int valid = keys - (tiles - 1) * KEYS;
  raise<true>(s, scales, q, rows, lower, valid, column);
  weigh<true>(s, p, scales, q, rows, valid, column);
  #pragma unroll
  for (int i = 0; i < 64; i++) o[i] = 0.f;

  // Each other tile's, with the values of the tile before.
  #pragma unroll 1
  for (int i = 1; i < tiles; i++) {
    scales_at -= SCALES;
    barrier_wait(at.full_k + 8 * k.at, k.parity);
    turn_take(worker);
    read_scales(scales, scales_at);
    hold(p);
    hold(o);
    hold(s);
    products_begin();
    score_tile(s, q_operand, k_operand + k.at * TILE);
    products_commit();
    barrier_wait(at.full_v + 8 * v.at, v.parity);
    value_tile(o, p, v_operand + v.at * TILE);
    products_commit();
    turn_give((worker + 1) % WORKERS);
    products_wait<1>();
    hold(s);
    if (leads) barrier_arrive(at.free_k + 8 * k.at);
    const bool raised = raise<false>(s, scales, q, rows, lower, 0, column);
    products_wait<0>();
    hold(o);
    hold(p);
    if (leads) barrier_arrive(at.free_v + 8 * v.at);
    if (raised) {
      #pragma unroll
      for (int j = 0; j < 64; j++) o[j] *= lower[(j >> 1) & 1];
    }
    weigh<false>(s, p, scales, q, rows, 0, column);
    k.next();
    v.next();
  }

  // The last tile's values.
  barrier_wait(at.full_v + 8 * v.at, v.parity);
  hold(p);
  hold(o);
  products_begin();
  value_tile(o, p, v_operand + v.at * TILE);
  products_commit();
  products_wait<0>();
  hold(o);
  // The last turn was given to the first worker: take it, so that no arrival is left over.
  if (worker == 0) turn_take(0);

  const float *means = stats + line * 3 * SIZE + SIZE, *up = means + SIZE;
  u16* line_out = out + (i64)(line / heads) * by.batch + (i64)(line % heads) * by.head;
  #pragma unroll
  for (int r = 0; r < 2; r++) {
    const int token = row + 8 * r;
    float sum = rows.sum[r];
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    if (token < queries) {
      if (column == 0) {
        const float log_sum = (rows.largest[r] - TOP + __log2f(sum)) / LOG2_E;
        sums[(i64)line * queries + token] = log_sum + shift[first + 8 * r];
      }
      sum = 1.f / sum;
      #pragma unroll
      for (int g = 0; g < 16; g++) {
        const int channel = g * 8 + column;
        const float2 scale = *(const float2*)(up + channel), mean = *(const float2*)(means + channel);
        const float x = fmaf(o[g * 4 + 2 * r] * sum, scale.x, mean.x);
        const float y = fmaf(o[g * 4 + 2 * r + 1] * sum, scale.y, mean.y);
        u32 pair;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
        *(u32*)(line_out + (i64)token * by.token + channel) = pair;
      }
    }
  }
}
