// What this processor can do; compiled for the oldest, since it runs before anything is known.
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define VISIBLE extern "C" __attribute__((visibility("default")))

namespace {

#if defined(__x86_64__)

bool has_avx512() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

// AMX-TILE and AMX-BF16, by CPUID's leaf 7.
bool has_amx() {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 24 & 1 && d >> 22 & 1;
}

// Ask for the tile registers, which Linux saves for a process only after that
// (Documentation/arch/x86/xstate).
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
  return false;
#endif
}

#endif

}  // namespace

// The name of the best library in src/lamina/kernels/native for this processor; empty for none.
VISIBLE const char* instruction_set() {
#if defined(__x86_64__)
  if (has_avx512()) return "avx512";
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "avx2" : "";
#elif defined(__aarch64__)
  return "neon";
#else
  return "";
#endif
}

// The same for products in bfloat16.
VISIBLE const char* half_instruction_set() {
#if defined(__x86_64__)
  if (has_avx512() && has_amx()) return may_use_tiles() ? "amx" : "refused";
#endif
  return "";
}
