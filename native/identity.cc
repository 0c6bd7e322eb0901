// What a library was built from and for: Python asks this before it uses anything else of it.
#include "arrays.h"

#define AS_TEXT(X) #X
#define TEXT(X) AS_TEXT(X)
#define VISIBLE extern "C" __attribute__((visibility("default")))

// The digest of the sources (src/lamina/kernels/native/digest.py) and, after a blank, of sanitizers' names.
VISIBLE const char* lamina_sources() { return LAMINA_SOURCES; }

// The version of XLA's interface to foreign kernels that the libraries speak.
VISIBLE const char* lamina_interface() { return TEXT(XLA_FFI_API_MAJOR) "." TEXT(XLA_FFI_API_MINOR); }

namespace lamina {
static Status nothing() { return Status::Success(); }
}  // namespace lamina

// A kernel that is never called: XLA checks the interface's version where a kernel is registered.
EXPORT(lamina_probe, lamina::bound(lamina::nothing))
