package cli

import (
	"fmt"
	"strings"
)

// sizeText is a number of bytes for people, in powers of 1024 as the block
// sizes of images are: "1 MiB", "948.5 KiB".
func sizeText(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1023.95 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + fmt.Sprintf(" %ciB", units[i])
}
