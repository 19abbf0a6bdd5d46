package settings

import (
	"fmt"
	"strconv"
	"strings"
)

// LogLimit is how many bytes a revision's logs may have: PV_LOG_DIR_MAXSIZE,
// for a file system of total bytes. A size of 0 means a tenth of it, or all
// where it is a tmpfs. A size beyond the file system is cut to it; upstream
// refuses to boot.
func (t *Table) LogLimit(total int64, tmpfs bool) (int64, error) {
	text := t.Text(LogDirMaxsize)
	n, err := parseSize(text, total)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", LogDirMaxsize, err)
	case n == 0 && tmpfs:
		return total, nil
	case n == 0:
		return total / 10, nil
	}
	return min(n, total), nil
}

var sizeUnits = map[string]int64{
	"": 1, "B": 1, "KB": 1e3, "K": 1 << 10, "MB": 1e6, "M": 1 << 20,
	"GB": 1e9, "G": 1 << 30, "TB": 1e12, "T": 1 << 40,
}

func parseSize(text string, total int64) (int64, error) {
	if text == "" {
		return 0, nil
	}
	digits := strings.TrimRight(text, "%BKMGT")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit := text[len(digits):]
	if err == nil && n >= 0 {
		if unit == "%" && n <= 100 {
			return total / 100 * n, nil
		}
		if scale, ok := sizeUnits[unit]; ok && n <= (1<<63-1)/scale {
			return n * scale, nil
		}
	}
	return 0, fmt.Errorf("%q is not a size such as 16777216, 16M, 2GB or 10%%", text)
}
